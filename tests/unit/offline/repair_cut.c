/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * repair_cut IMAGE N: repairs the image as `sluice check --repair` does, on a device that loses its
 * power after N writes: what was written until then stays. Exit code 0: it needed no more; 3: cut.
 * tests/format/test_offline_check.py says what must hold of what is left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "offline/check.h"

#define CUT 3

struct cut_image {
	struct image image;
	struct image_file file;
	unsigned long left;
	bool cut;
};

static struct cut_image *cut_of(struct image *image)
{
	return container_of(image, struct cut_image, image);
}

static int cut_read(struct image *image, uint64_t offset, void *ret_buf, size_t bytes)
{
	return image_read(&cut_of(image)->file.image, offset, ret_buf, bytes);
}

static int cut_write(struct image *image, uint64_t offset, const void *buf, size_t bytes)
{
	struct cut_image *cut = cut_of(image);

	if (!cut->left) {
		cut->cut = true;
		return -EIO;
	}
	cut->left--;
	return image_write(&cut->file.image, offset, buf, bytes);
}

static int cut_flush(struct image *image)
{
	return cut_of(image)->cut ? -EIO : 0;
}

static uint64_t cut_next_data(struct image *image, uint64_t offset)
{
	struct image *file = &cut_of(image)->file.image;

	return file->ops->next_data(file, offset);
}

static const struct image_ops cut_ops = {
	.read = cut_read,
	.write = cut_write,
	.flush = cut_flush,
	.next_data = cut_next_data,
};

int main(int argc, char **argv)
{
	const struct check_options options = {.repair = true};
	struct cut_image cut = {.image.ops = &cut_ops};
	struct check_report report;
	struct reason reason = {0};
	int rc;

	if (argc != 3 || image_file_open(&cut.file, argv[1], true, &reason)) {
		fprintf(stderr, "repair_cut IMAGE WRITES: %s\n", reason.text);
		return 2;
	}
	cut.image.size_bytes = cut.file.image.size_bytes;
	cut.left = strtoul(argv[2], NULL, 10);
	rc = check_run(&cut.image, &options, &report, &reason);
	check_report_fini(&report);
	image_file_close(&cut.file);
	if (cut.cut)
		return CUT;
	return rc ? 1 : 0;
}
