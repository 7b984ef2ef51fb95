/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between top.c and top_screen.c.
 */
#ifndef CLI_TOP_IMPL_H
#define CLI_TOP_IMPL_H

#include "cli/load.h"

#define TOP_COLUMNS   10
#define TOP_CELL_SIZE 64

struct top {
	struct load load;
	int delay_s;
	int number; /* of tables */
	bool all;
	bool json;
};

extern const char *const top_head[TOP_COLUMNS];
void top_row_make(const struct load *load, const struct load_disk *disk,
	char cells[TOP_COLUMNS][TOP_CELL_SIZE]);
bool top_is_shown(const struct top *top, const struct load_disk *disk);
bool top_is_interrupted(void);

void top_count_format(char *text, size_t size, double count);
void top_bytes_format(char *text, size_t size, double bytes); /* 1.5M */
void top_time_format(char *text, size_t size, double us); /* 12us; below 0: "-" */

/* Until somebody ends it. False after a sentence on stderr. */
bool top_screen_run(struct top *top);

#endif
