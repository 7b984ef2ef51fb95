/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rounds of a check, and its report.
 */
#include "offline/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offline/check_impl.h"

#define ROUNDS_MAX 16

/* ---- faults -------------------------------------------------------------------------------- */

static bool fault_append(struct fault **faults, unsigned *count, const struct fault *fault)
{
	struct fault *more = reallocarray(*faults, *count + 1u, sizeof(*more));

	if (!more)
		return false;
	more[*count] = *fault;
	*faults = more;
	++*count;
	return true;
}

static bool check_may_mend(const struct check *check, enum remedy remedy)
{
	if (!check->options.repair || check->rc)
		return false;
	return remedy == REMEDY_REPAIR || (remedy == REMEDY_LOSE && check->options.lose);
}

bool check_fault(struct check *check, const char *kind, enum remedy remedy, struct fault_at at,
	const char *consequence, const char *fmt, ...)
{
	struct fault fault = {
		.kind = kind,
		.remedy = remedy,
		.mended = check_may_mend(check, remedy),
		.blob = at.blob ? at.blob->id : 0,
		.page = at.page,
	};
	va_list args;

	if (at.blob)
		snprintf(fault.volume, sizeof(fault.volume), "%s", at.blob->name);
	snprintf(fault.consequence, sizeof(fault.consequence), "%s", consequence);
	va_start(args, fmt);
	vsnprintf(fault.text, sizeof(fault.text), fmt, args);
	va_end(args);
	if (!fault_append(&check->faults, &check->num_faults, &fault))
		check_fail(check, -ENOMEM, "not enough memory for all faults");
	check->mended += fault.mended;
	return fault.mended;
}

void check_fail(struct check *check, int rc, const char *fmt, ...)
{
	char text[REASON_MAX];
	va_list args;

	if (check->rc)
		return;
	check->rc = rc;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	reason_set(check->reason, rc, "%s", text);
}

/* ---- a round ------------------------------------------------------------------------------- */

static void check_describe(struct check *check)
{
	struct check_report *report = check->report;

	report->readable = true;
	memcpy(report->type, check->super.bstype, sizeof(check->super.bstype));
	report->cluster_size = check->super.cluster_size;
	report->clusters = super_clusters(&check->super);
	report->pages = check->super.md_len;
	report->clusters_used = check->clusters.count;
	report->pages_used = check->pages.count;
	report->volumes = 0;
	for (unsigned i = 0; i < check->num_blobs; i++) {
		if (check->blobs[i].id == check->super.super_blob)
			memcpy(report->name, check->blobs[i].name, sizeof(report->name));
		else if (!check->blobs[i].gone)
			report->volumes++;
	}
}

static void round_fini(struct check *check)
{
	for (unsigned i = 0; i < check->num_blobs; i++)
		check_blob_fini(&check->blobs[i]);
	free(check->blobs);
	free(check->wipe);
	free(check->shares);
	free(check->page_shares);
	free(check->copies);
	bitmap_fini(&check->mask_pages);
	bitmap_fini(&check->mask_clusters);
	bitmap_fini(&check->mask_blobs);
	bitmap_fini(&check->pages);
	bitmap_fini(&check->clusters);
	bitmap_fini(&check->pages_twice);
	free(check->faults);
}

static void round_look(struct check *check)
{
	if (!check_read_super(check))
		return;
	check_read_masks(check);
	check_find_roots(check);
	check_read_blobs(check);
	check_resolve_links(check);
	check_owners(check);
	check_shared(check);
	check_volumes(check);
	if (check->rc)
		return;
	check_count_used(check);
	check_masks(check);
	check_describe(check);
}

/* Faults that were mended stay told; of the others those of the last round count. */
static void round_tell(struct check *check, bool last)
{
	struct check_report *report = check->report;

	for (unsigned i = 0; i < check->num_faults; i++) {
		const struct fault *fault = &check->faults[i];

		if (!fault->mended && !last)
			continue;
		if (!fault_append(&report->faults, &report->num_faults, fault))
			check_fail(check, -ENOMEM, "not enough memory for all faults");
		report->remaining += !fault->mended;
	}
}

/* The number of faults mended, or -errno. */
static int round_run(struct image *image, const struct check_options *options,
	struct check_report *report, bool first, struct reason *reason)
{
	struct check check = {
		.image = image, .options = *options, .report = report, .reason = reason};
	int mended;

	round_look(&check);
	if (first)
		report->closed = check.super.clean;
	if (check.mended && !check.rc)
		repair_write(&check);
	mended = check.rc ? check.rc : (int)check.mended;
	round_tell(&check, mended <= 0);
	if (check.rc)
		mended = check.rc;
	round_fini(&check);
	return mended;
}

int check_run(struct image *image, const struct check_options *options,
	struct check_report *ret_report, struct reason *reason)
{
	struct check_options each = *options;
	int rc = 1;

	*ret_report = (struct check_report){0};
	for (unsigned round = 0; rc > 0; round++) {
		each.repair = options->repair && round < ROUNDS_MAX;
		rc = round_run(image, &each, ret_report, round == 0, reason);
	}
	return rc;
}

void check_report_fini(struct check_report *report)
{
	free(report->faults);
}
