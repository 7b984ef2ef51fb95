/* SPDX-License-Identifier: BSD-2-Clause */
#include "fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_SKIPPED 77

static bool use_io_uring;

static int os_create(struct os **ret_os)
{
	const struct os_real_options options = {.io_uring = use_io_uring, .workers = 2};
	struct reason reason = {0};

	return os_real_create(&options, &reason, ret_os);
}

int fixture_main(int argc, char **argv)
{
	struct os *os;
	bool skip;

	if (argc != 2 || (strcmp(argv[1], "io_uring") != 0 && strcmp(argv[1], "epoll") != 0)) {
		fprintf(stderr, "usage: %s io_uring|epoll\n", argv[0]);
		return 2;
	}
	use_io_uring = strcmp(argv[1], "io_uring") == 0;
	if (os_create(&os) != 0)
		return 1;
	skip = strcmp(os_real_engine(os), argv[1]) != 0;
	os_real_destroy(os);
	return skip ? EXIT_SKIPPED : 0;
}

bool fixture_uses_io_uring(void)
{
	return use_io_uring;
}

int fixture_setup(void **state)
{
	const struct os_ring_options options = {.entries = TEST_RING_ENTRIES};
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture || os_create(&fixture->os) != 0)
		return -1;
	if (fixture->os->ops->ring_create(fixture->os, &options, &fixture->ring) != 0)
		return -1;
	/* Not /tmp, which may be a tmpfs: O_DIRECT is to be tested. */
	strcpy(fixture->directory, "/var/tmp/sluice-unit-os-XXXXXX");
	if (!mkdtemp(fixture->directory))
		return -1;
	*state = fixture;
	return 0;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *position)
{
	return remove(path);
}

int fixture_setup_keeping(void **state)
{
	int rc = fixture_setup(state);

	if (rc == 0)
		((struct fixture *)*state)->keep = true;
	return rc;
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	fixture->os->ops->ring_destroy(fixture->ring);
	os_real_destroy(fixture->os);
	nftw(fixture->directory, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
	free(fixture);
	return 0;
}

const char *fixture_path(struct fixture *fixture, const char *name)
{
	snprintf(fixture->path, sizeof(fixture->path), "%s/%s", fixture->directory, name);
	return fixture->path;
}

int fixture_file(struct fixture *fixture, const char *name, unsigned flags)
{
	int fd = -1;

	assert_int_equal(fixture->os->ops->file_open(fixture->os, fixture_path(fixture, name),
				 OS_OPEN_WRITE | OS_OPEN_CREATE | flags, 0600, &fd),
		0);
	return fd;
}

void fixture_enter_until(struct fixture *fixture, const unsigned *count, unsigned target)
{
	const struct os_ops *ops = fixture->os->ops;
	uint64_t end = ops->now_ns(fixture->os) + 5 * SEC_NS;

	while (*count < target) {
		ops->ring_enter(fixture->ring, 100 * MSEC_NS);
		assert_true(ops->now_ns(fixture->os) < end);
	}
}

void fixture_settle(struct fixture *fixture)
{
	const struct os_ops *ops = fixture->os->ops;

	while (ops->ring_enter(fixture->ring, 20 * MSEC_NS) > 0)
		;
}

unsigned fixture_count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}
