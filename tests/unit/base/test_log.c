/* SPDX-License-Identifier: BSD-2-Clause */
/* What reaches stderr: levels, one whole line each, nothing forged, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "capture.h"

static void lines_above_the_level_are_dropped(void **state)
{
	static struct capture capture;

	capture_begin(&capture);
	log_set_level(LOG_WARNING);
	log_error("one");
	log_warning("two %d", 2);
	log_notice("three");
	log_debug("four");
	log_set_level(LOG_NOTICE);
	log_notice("five");
	assert_int_equal(capture_end(&capture), 3);
	assert_string_equal(
		capture.text, "sluice: error: one\nsluice: warning: two 2\nsluice: notice: five\n");
	assert_int_equal(log_get_level(), LOG_NOTICE);
}

static void text_from_outside_cannot_forge_a_line_or_an_escape(void **state)
{
	static struct capture capture;

	capture_begin(&capture);
	log_error("name %s", "a\nsluice: error: forged\033[2J\x7f");
	assert_int_equal(capture_end(&capture), 1);
	assert_null(strchr(capture.text, '\033'));
	assert_null(strchr(capture.text, 0x7f));
}

static void a_long_line_is_cut_and_ended(void **state)
{
	static struct capture capture;
	static char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	capture_begin(&capture);
	log_error("%s", text);
	log_error("next");
	assert_int_equal(capture_end(&capture), 2);
	assert_non_null(strstr(capture.text, "x\nsluice: error: next\n"));
}

static void a_flood_is_limited_and_what_was_held_back_is_counted(void **state)
{
	static struct capture capture;
	struct log_limit limit = {0}, other = {0};
	const unsigned flood = 1000;
	unsigned lines, held = 0;
	const char *p;

	capture_begin(&capture);
	for (unsigned i = 0; i < flood; i++)
		log_limited(&limit, LOG_ERROR, "guest %u", i);
	log_limited(&other, LOG_ERROR, "another place");
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL);
	log_limited(&limit, LOG_ERROR, "later");
	lines = capture_end(&capture);
	assert_non_null(strstr(capture.text, "guest 0\n"));
	assert_non_null(strstr(capture.text, "another place\n"));
	assert_non_null(strstr(capture.text, "later\n"));
	/* A burst, or two when a second began in between. */
	assert_in_range(lines, 10, 30);
	for (p = capture.text; (p = strstr(p, "error: ")); p++) {
		unsigned count;

		if (sscanf(p, "error: %u similar lines", &count) == 1) {
			held += count;
			lines--;
		}
	}
	/* Every line was written or counted. */
	assert_int_equal(lines - 2 + held, flood);
}

static void a_limited_line_above_the_level_neither_appears_nor_counts(void **state)
{
	static struct capture capture;
	struct log_limit limit = {0};

	capture_begin(&capture);
	for (unsigned i = 0; i < 100; i++)
		log_limited(&limit, LOG_DEBUG, "quiet");
	log_limited(&limit, LOG_ERROR, "loud");
	assert_int_equal(capture_end(&capture), 1);
}

static void a_broken_invariant_ends_the_process_and_says_where(void **state)
{
	static struct capture capture;
	int status;
	pid_t pid;

	capture_begin(&capture);
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		invariant(1 + 1 == 3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	capture_end(&capture);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(capture.text, "1 + 1 == 3"));
	assert_non_null(strstr(capture.text, "test_log.c:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_above_the_level_are_dropped),
		cmocka_unit_test(text_from_outside_cannot_forge_a_line_or_an_escape),
		cmocka_unit_test(a_long_line_is_cut_and_ended),
		cmocka_unit_test(a_flood_is_limited_and_what_was_held_back_is_counted),
		cmocka_unit_test(a_limited_line_above_the_level_neither_appears_nor_counts),
		cmocka_unit_test(a_broken_invariant_ends_the_process_and_says_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
