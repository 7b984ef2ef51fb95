/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test's program writes to stderr between begin and end, which counts the lines. */
#ifndef UNIT_BASE_CAPTURE_H
#define UNIT_BASE_CAPTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	int file;
	int saved;
	char text[64 * 1024];
};

static inline void capture_begin(struct capture *capture)
{
	fflush(stderr);
	capture->file = memfd_create("stderr", MFD_CLOEXEC);
	capture->saved = dup(STDERR_FILENO);
	assert_true(capture->file >= 0 && capture->saved >= 0);
	assert_true(dup2(capture->file, STDERR_FILENO) >= 0);
}

static inline unsigned capture_end(struct capture *capture)
{
	unsigned lines = 0;
	ssize_t len;

	assert_true(dup2(capture->saved, STDERR_FILENO) >= 0);
	len = pread(capture->file, capture->text, sizeof(capture->text) - 1, 0);
	assert_true(len >= 0);
	capture->text[len] = '\0';
	close(capture->file);
	close(capture->saved);
	for (const char *p = capture->text; (p = strchr(p, '\n')); p++)
		lines++;
	return lines;
}

#endif
