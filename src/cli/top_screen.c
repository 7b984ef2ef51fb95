/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen of sluice top: disks that do most first, as many as fit, above them the sum and the
 * data threads. It is drawn by ncurses, so that only what has changed is sent to the terminal.
 */
#include <curses.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top_impl.h"

#define NAME_WIDTH   28
#define NUMBER_WIDTH 10

/* Names are others': what is no character of a name must not reach the terminal. */
static void text_draw(int row, int column, const char *text, int width, bool right)
{
	char plain[TOP_CELL_SIZE];
	size_t len = strnlen(text, sizeof(plain) - 1);

	for (size_t i = 0; i < len; i++)
		plain[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	plain[len] = '\0';
	if (row < LINES && column < COLS)
		mvprintw(row, column, right ? "%*.*s" : "%-*.*s", width, width, plain);
}

static void row_draw(int row, const char *const cells[TOP_COLUMNS])
{
	int column = NAME_WIDTH;

	text_draw(row, 0, cells[0], NAME_WIDTH, false);
	for (unsigned c = 1; c < TOP_COLUMNS; c++, column += NUMBER_WIDTH)
		text_draw(row, column, cells[c], NUMBER_WIDTH, true);
}

static int disk_compare(const void *a, const void *b)
{
	const struct load_disk *one = *(const struct load_disk *const *)a;
	const struct load_disk *two = *(const struct load_disk *const *)b;
	uint64_t requests_one = load_requests(one), requests_two = load_requests(two);

	if (requests_one != requests_two)
		return requests_one < requests_two ? 1 : -1;
	return strcmp(one->label, two->label);
}

static int disks_draw(const struct top *top, int row)
{
	unsigned count = 0, hidden = 0;
	const struct load_disk **shown =
		calloc(top->load.disks_count + 1, sizeof(struct load_disk *));
	char cells[TOP_COLUMNS][TOP_CELL_SIZE];
	const char *texts[TOP_COLUMNS];

	for (unsigned i = 0; shown && i < top->load.disks_count; i++) {
		if (top_is_shown(top, &top->load.disks[i]))
			shown[count++] = &top->load.disks[i];
		else
			hidden++;
	}
	if (count)
		qsort(shown, count, sizeof(struct load_disk *), disk_compare);
	for (unsigned i = 0; i < count && row < LINES - 1; i++) {
		top_row_make(&top->load, shown[i], cells);
		for (unsigned c = 0; c < TOP_COLUMNS; c++)
			texts[c] = cells[c];
		row_draw(row++, texts);
	}
	free(shown);
	if (hidden && row < LINES)
		mvprintw(row++, 0, "%u disks do nothing (a shows them)", hidden);
	return row;
}

static void sum_draw(const struct top *top)
{
	struct load_counters sum = {0};
	char counts[2][TOP_CELL_SIZE], bytes[2][TOP_CELL_SIZE];

	for (unsigned i = 0; i < top->load.disks_count; i++) {
		const struct load_counters *more = &top->load.disks[i].more;

		sum.reads += more->reads;
		sum.writes += more->writes;
		sum.read_bytes += more->read_bytes;
		sum.written_bytes += more->written_bytes;
	}
	top_count_format(counts[0], TOP_CELL_SIZE, load_per_second(&top->load, sum.reads));
	top_count_format(counts[1], TOP_CELL_SIZE, load_per_second(&top->load, sum.writes));
	top_bytes_format(bytes[0], TOP_CELL_SIZE, load_per_second(&top->load, sum.read_bytes));
	top_bytes_format(bytes[1], TOP_CELL_SIZE, load_per_second(&top->load, sum.written_bytes));
	mvprintw(0, 0, "%u disks: %s reads and %s writes a second, %s read and %s written",
		top->load.disks_count, counts[0], counts[1], bytes[0], bytes[1]);
}

static int threads_draw(const struct top *top, int row)
{
	int column = 0;

	for (unsigned i = 0; i < top->load.threads_count; i++, column += 20) {
		if (column + 20 > COLS && column) {
			column = 0;
			row++;
		}
		if (row < LINES)
			mvprintw(row, column, "%-12.12s%5.1f%%", top->load.threads[i].name,
				top->load.threads[i].busy * 100);
	}
	return row + 1;
}

static void screen_draw(const struct top *top)
{
	int row;

	erase();
	sum_draw(top);
	row = threads_draw(top, 1) + 1;
	attron(A_REVERSE);
	row_draw(row, top_head);
	attroff(A_REVERSE);
	disks_draw(top, row + 1);
	refresh();
}

/* false: it ends. */
static bool keys_take(struct top *top)
{
	int key = getch(); /* waits for the time to the next look */

	if (key == 'a') {
		top->all = !top->all;
		screen_draw(top);
	}
	return key != 'q' && key != 'Q' && !top_is_interrupted();
}

bool top_screen_run(struct top *top)
{
	bool good = load_look(&top->load);
	SCREEN *screen = good ? newterm(NULL, stdout, stdin) : NULL;

	if (!screen) {
		if (good)
			cli_error("this terminal cannot show a screen (TERM): use sluice top -n 1");
		return false;
	}
	cbreak();
	noecho();
	curs_set(0);
	timeout(top->delay_s * 1000);
	do {
		good = load_look(&top->load);
		if (good)
			screen_draw(top);
	} while (good && keys_take(top));
	endwin();
	delscreen(screen);
	return good;
}
