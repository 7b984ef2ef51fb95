/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli_impl.h"

#define TABLE_COLUMNS_MAX 16

void cli_error(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "sluice: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
}

void json_print(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	printf("\n");
}

bool cli_text_is_utf8(const char *text)
{
	json_t *string = json_string(text);

	json_decref(string);
	return string != NULL;
}

void shell_print(const char *word)
{
	putchar('\'');
	for (; *word; word++) {
		if (*word == '\'')
			printf("'\\''"); /* ends the quotes, a quote, begins them again */
		else
			putchar(*word);
	}
	putchar('\'');
}

/* Characters, not bytes: what follows the first byte of one has its two high bits 10. */
static unsigned text_width(const char *text)
{
	unsigned width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* Whoever names things must not be able to write on the terminal, or make two rows of one. */
static void text_print(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void cell_print(const char *text, unsigned width, bool last)
{
	text_print(text);
	if (last)
		printf("\n");
	else
		printf("%*s", (int)(width - text_width(text)) + 2, "");
}

static void table_print_columns(const char *const *head, unsigned columns, const json_t *rows)
{
	unsigned widths[TABLE_COLUMNS_MAX];
	size_t i;
	json_t *row;

	for (unsigned c = 0; c < columns; c++) {
		widths[c] = text_width(head[c]);
		json_array_foreach(rows, i, row)
		{
			unsigned width = text_width(json_string_value(json_array_get(row, c)));

			widths[c] = (unsigned)u64_max(widths[c], width);
		}
	}
	for (unsigned c = 0; c < columns; c++)
		cell_print(head[c], widths[c], c == columns - 1);
	json_array_foreach(rows, i, row)
	{
		for (unsigned c = 0; c < columns; c++)
			cell_print(json_string_value(json_array_get(row, c)), widths[c],
				c == columns - 1);
	}
}

void table_print(const char *const *head, unsigned columns, const json_t *rows)
{
	size_t i;
	json_t *row;

	if (isatty(STDOUT_FILENO)) {
		table_print_columns(head, columns, rows);
		return;
	}
	json_array_foreach(rows, i, row)
	{
		for (unsigned c = 0; c < columns; c++) {
			text_print(json_string_value(json_array_get(row, c)));
			putchar(c == columns - 1 ? '\n' : '\t');
		}
	}
}

bool cli_number_read(const char *option, const char *text, int max, int *ret_number)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number > max) {
		cli_error("%s is a number from 0 to %d, not '%s'", option, max, text);
		return false;
	}
	*ret_number = (int)number;
	return true;
}
