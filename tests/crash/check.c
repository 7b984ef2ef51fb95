/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash/check_impl.h"

#define AGAIN_OF_FIVE  2u /* disks that are loaded again */
#define USE_ONE_IN     17u /* that are used again */
#define DOUBLE_ONE_IN  24u /* cuts that are cut again */
#define DOUBLE_CHOICES 2u

/* Where it is, for whoever meets an invariant that does not hold. */
static struct {
	uint64_t scenario, cut;
	unsigned choice;
	bool is_double;
} position;

static void tell_position(int signal_number)
{
	char text[160];
	int length = snprintf(text, sizeof(text),
		"crash test: scenario %" PRIu64 ", cut %" PRIu64 ", choice %u%s\n",
		position.scenario, position.cut, position.choice,
		position.is_double ? ", within the load after it" : "");

	if (write(STDERR_FILENO, text, (size_t)length) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* ---- one disk ----------------------------------------------------------- */

/* Loads, and if read is set looks at it, and closes it. */
static int check_visit(struct check *check, bool reads)
{
	struct reason reason = {0};
	int rc = store_world_load(&check->world, &reason);

	if (rc) {
		check->world.store = NULL;
		return check_fault(check, "it does not load: %d, %s", rc, reason.text);
	}
	rc = reads ? check_read_all(check) : check_list(check);
	if (store_world_close(&check->world) != 0)
		return check_fault(check, "it cannot be closed");
	return rc;
}

/* To be freed. */
static struct check_found *check_closed_image(struct check *check, uint64_t sum)
{
	struct check_found *found;
	int rc = store_image_init(&check->store, check->image);

	check->store.foreign = &check->scenario->foreign;
	if (!rc)
		rc = store_image_check_closed(&check->store);
	if (rc)
		check_fault(check, "%s", check->store.fault);
	if (!rc)
		rc = check_against_image(check);
	found = check_found_create(check, sum);
	found->verdict = rc ? CHECK_BROKEN : CHECK_FINE;
	store_image_fini(&check->store);
	return found;
}

/* It was closed: what it was, it is. */
static int check_second_visit(struct check *check)
{
	int rc = check_visit(check, chance_one_in(&check->chance, 2));
	struct check_found *found;

	if (!rc && check->info.recovered)
		return check_fault(check, "it was closed, and is recovered");
	if (rc)
		return rc;
	found = check_closed_image(check, 0);
	rc = found->verdict ? -1 : check_against_model(check, found);
	check_found_free(found);
	return rc;
}

static bool store_may_be_gone(const struct check *check)
{
	const struct scenario *s = check->scenario;

	return model_span_may(&s->destroyed, check->now) ||
	       (model_span_may(&s->remade, check->now) && !model_span_must(&s->remade, check->now));
}

/* It says so, and has no volumes: all of them are there or none. */
static int check_gone(struct check *check)
{
	if (!strstr(check->fault, "does not load: -84")) /* EILSEQ */
		return -1;
	check->fault[0] = '\0';
	return 0;
}

/* What is on it? Afterwards the store has been loaded, read and closed. */
static struct check_found *check_look(struct check *check, uint64_t sum)
{
	struct check_found *found;

	if (check_visit(check, true)) {
		found = check_found_create(check, sum);
		found->verdict = CHECK_NOT_LOADED;
	} else {
		found = check_closed_image(check, sum);
	}
	check_seen_add(check, found);
	return found;
}

/* Is it what may be there now? */
static int check_judge(struct check *check, const struct check_found *found)
{
	if (found->fault)
		check_fault(check, "%s", found->fault);
	if (found->verdict == CHECK_NOT_LOADED)
		return store_may_be_gone(check) ? check_gone(check) : -1;
	if (model_span_must(&check->scenario->destroyed, check->now))
		return check_fault(check, "a store that was destroyed loads");
	return found->verdict ? -1 : check_against_model(check, found);
}

/* Everything after one cut, but for a second one. */
static int check_disk(struct check *check)
{
	uint64_t sum = crash_image_sum(check->image);
	struct check_found *found = check_seen_find(check, sum);
	bool is_new = !found;
	int rc;

	if (is_new)
		found = check_look(check, sum);
	rc = check_judge(check, found);
	if (!is_new || found->verdict)
		return rc;
	if (!rc && chance_below(&check->chance, 5) < AGAIN_OF_FIVE)
		rc = check_second_visit(check);
	if (!rc && chance_one_in(&check->chance, USE_ONE_IN))
		rc = check_use(check);
	return rc;
}

/* ---- a cut within the load ---------------------------------------------- */

/* The load and the close that follow the cut, written down. */
static int double_record(struct check *check, struct crash_log *log)
{
	int rc;

	crash_log_init(log);
	log->atomic_end = check->scenario->log.atomic_end;
	crash_disk_set(&check->world.disk, check->image, log, chance_next(&check->chance) | 1);
	rc = check_visit(check, false);
	crash_disk_set(&check->world.disk, check->image, NULL, 0);
	return rc;
}

static int double_cuts(
	struct check *check, const struct crash_log *log, struct check_totals *totals)
{
	struct crash_cutter cutter;
	int rc = 0;

	crash_cutter_init(&cutter, log, &check->disk, check->scenario->size_bytes);
	while (!rc && crash_cutter_next(&cutter)) {
		for (unsigned choice = 0; choice < DOUBLE_CHOICES && !rc; choice++) {
			if (!crash_cutter_image(
				    &cutter, choice ? 2 + choice : 0, check->now, check->image))
				continue;
			totals->double_cuts++;
			rc = check_disk(check);
			if (rc)
				snprintf(check->fault + strlen(check->fault),
					sizeof(check->fault) - strlen(check->fault),
					" (second cut at %" PRIu64 ", choice %u)", cutter.now,
					choice);
		}
	}
	crash_cutter_fini(&cutter);
	return rc;
}

/* check->disk is as the first cut left it. */
static int check_double(struct check *check, struct check_totals *totals)
{
	struct crash_image again;
	struct crash_log log;
	int rc;

	crash_image_init(&again, &check->disk, check->scenario->size_bytes);
	check->image = &again;
	position.is_double = true;
	rc = double_record(check, &log);
	if (!rc)
		rc = double_cuts(check, &log, totals);
	position.is_double = false;
	check->image = &check->disk;
	crash_disk_set(&check->world.disk, check->image, NULL, 0);
	crash_log_fini(&log);
	crash_image_fini(&again);
	return rc;
}

/* ---- all cuts ----------------------------------------------------------- */

/* What the disk was asked until the cut, a line each. */
static void dump_log(const struct crash_log *log, uint64_t now, FILE *file)
{
	for (uint32_t i = 0; i < log->num_writes; i++) {
		const struct crash_write *write = &log->writes[i];

		if (write->submitted > now)
			return;
		fprintf(file, "%" PRIu64 " - %" PRIu64 ": %s%s %" PRIx64 " + %" PRIx64 "\n",
			write->submitted, write->ended <= now ? write->ended : 0,
			write->is_flush ? "flush"
			: write->data   ? "write"
					: "fill",
			write->is_fua ? " fua" : "", write->offset, write->length);
	}
}

static void dump_image(struct check *check, FILE *file)
{
	for (uint64_t at = 0; at < check->disk.size_bytes; at += CRASH_PAGE_BYTES)
		assert_int_equal(
			fwrite(crash_image_at(&check->disk, at), CRASH_PAGE_BYTES, 1, file), 1);
}

/* The disk as the cut left it, into the file that CRASH_DUMP names, and its log beside it. */
static void check_dump(struct check *check, struct crash_cutter *cutter, unsigned choice)
{
	const char *path = getenv("CRASH_DUMP");
	char log_path[PATH_MAX];
	FILE *file;

	if (!path)
		return;
	(void)crash_cutter_image(cutter, choice, check->scenario->number, &check->disk);
	file = fopen(path, "w");
	assert_non_null(file);
	dump_image(check, file);
	fclose(file);
	snprintf(log_path, sizeof(log_path), "%s.log", path);
	file = fopen(log_path, "w");
	assert_non_null(file);
	dump_log(&check->scenario->log, check->now, file);
	fclose(file);
}

static void check_cut(struct check *check, struct crash_cutter *cutter, unsigned choice,
	struct check_totals *totals)
{
	uint64_t seed = check->scenario->number;
	int rc;

	position.choice = choice;
	if (!crash_cutter_image(cutter, choice, seed, &check->disk))
		return;
	totals->cuts++;
	check->fault[0] = '\0';
	check->chance.state = chance_mix(cutter->now ^ (uint64_t)choice << 40 ^ seed << 48);
	rc = check_disk(check);
	if (!rc && !store_may_be_gone(check) && check->scenario->number < SCENARIO_WIDE &&
		chance_one_in(&check->chance, DOUBLE_ONE_IN)) {
		(void)crash_cutter_image(cutter, choice, seed, &check->disk);
		rc = check_double(check, totals);
	}
	if (!rc)
		return;
	check_dump(check, cutter, choice);
	if (!totals->wrong++)
		snprintf(totals->first, sizeof(totals->first),
			"scenario %" PRIu64 " (%s%s), cut %" PRIu64 ", choice %u: %s", seed,
			scenario_op_name(check->scenario->op),
			check->scenario->with_second ? " and another, with I/O"
			: check->scenario->with_io   ? " with I/O"
						     : "",
			cutter->now, choice, check->fault);
}

static void check_init(
	struct check *check, struct scenario *scenario, const struct crash_image *stable)
{
	memset(check, 0, sizeof(*check));
	check->scenario = scenario;
	crash_image_init(&check->disk, stable, scenario->size_bytes);
	check->image = &check->disk;
	store_world_start(&check->world, scenario->number, &scenario->disk_options, check->image,
		&scenario->foreign, 0);
	signal(SIGABRT, tell_position);
	position.scenario = scenario->number;
}

static void check_fini(struct check *check)
{
	store_world_end(&check->world);
	crash_image_fini(&check->disk);
	check_seen_fini(check);
	for (unsigned i = 0; i < STORE_IMAGE_BLOBS_MAX; i++) {
		free(check->blobs[i].ids);
		free(check->blobs[i].buf);
	}
}

void check_scenario(struct scenario *scenario, unsigned choices, uint64_t wrong_max,
	struct check_totals *totals)
{
	struct check *check = malloc(sizeof(*check));
	struct crash_cutter cutter;

	assert_non_null(check);
	crash_cutter_init(&cutter, &scenario->log, NULL, scenario->size_bytes);
	check_init(check, scenario, &cutter.stable);
	while (totals->wrong < wrong_max && crash_cutter_next(&cutter)) {
		if (cutter.now < scenario->cut_from)
			continue;
		if (cutter.now > scenario->cut_until)
			break;
		model_set_cut(&scenario->model, cutter.now);
		check->now = position.cut = cutter.now;
		for (unsigned choice = 0; choice < choices && totals->wrong < wrong_max; choice++)
			check_cut(check, &cutter, choice, totals);
	}
	totals->disks += check->seen.count;
	check_fini(check);
	crash_cutter_fini(&cutter);
	free(check);
}
