/* SPDX-License-Identifier: BSD-2-Clause */
#include "nexuses.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"

static const unsigned reactor_of[NEXUSES] = {0, 1, 0};

/* ---- life ---------------------------------------------------------------------------------- */

static char state_dir[64];

const char *state_dir_make(struct host *host)
{
	if (host->sim) {
		strcpy(state_dir, "/state");
		assert_int_equal(host->os->ops->directory_create(host->os, state_dir, 0700), 0);
	} else {
		strcpy(state_dir, "/tmp/sluice-test-XXXXXX");
		assert_non_null(mkdtemp(state_dir));
	}
	return state_dir;
}

static void folder_remove(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	char name[512];

	while (folder && (entry = readdir(folder))) {
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(name);
	}
	if (folder)
		closedir(folder);
	rmdir(path);
}

void state_dir_remove(struct host *host)
{
	char folder[128];

	if (host->sim)
		return;
	snprintf(folder, sizeof(folder), "%s/reservations", state_dir);
	folder_remove(folder);
	folder_remove(state_dir);
}

static void nexuses_attach(struct nexuses *n, unsigned first)
{
	for (unsigned i = first; i < NEXUSES; i++) {
		n->attachments[i] = scsi_world_attach(&n->w, (uint16_t)i);
		n->channels[i] = scsi_world_open(&n->w, n->attachments[i], reactor_of[i]);
	}
}

static void nexuses_detach(struct nexuses *n, unsigned first)
{
	for (unsigned i = first; i < NEXUSES; i++) {
		scsi_world_close(&n->w, n->channels[i]);
		scsi_world_detach(&n->w, n->attachments[i]);
	}
}

void nexuses_start(struct nexuses *n, const char *name)
{
	scsi_world_start(&n->w, &SMALL_DISK);
	n->w.state_dir = name;
	scsi_world_close(&n->w, n->w.channel);
	scsi_world_detach(&n->w, n->w.attachment);
	if (name)
		n->w.state_dir = state_dir_make(&n->w.world.host);
	nexuses_attach(n, 0);
	n->w.attachment = n->attachments[0];
	n->w.channel = n->channels[0];
	n->w.view->luns[0] = n->w.channel;
}

void nexuses_end(struct nexuses *n)
{
	nexuses_detach(n, 1);
	if (n->w.state_dir)
		state_dir_remove(&n->w.world.host);
	scsi_world_end(&n->w);
}

void nexuses_restart(struct nexuses *n)
{
	nexuses_detach(n, 0);
	nexuses_attach(n, 0);
	n->w.attachment = n->attachments[0];
	n->w.channel = n->channels[0];
	n->w.view->luns[0] = n->w.channel;
}

/* ---- commands ------------------------------------------------------------------------------ */

struct command *command_from(struct nexuses *n, unsigned nexus, struct command *command)
{
	command->channel = n->channels[nexus];
	return command;
}

static struct command *with_list(struct nexuses *n, unsigned nexus, uint8_t action, uint8_t type,
	const uint8_t *list, uint32_t len)
{
	struct command *command = FROM(n, nexus, SCSI_PERSISTENT_OUT, action, type);

	be32_put(command->cdb + 5, len);
	command->out = list;
	command->out_len = len;
	return command;
}

/* What a command sends is copied when it begins: one list is enough as long as each begins before
 * the next is made. */
static uint8_t list[SCSI_PERSISTENT_OUT_BYTES_MAX];

static void list_begin(uint64_t key, uint64_t action_key, uint8_t flags)
{
	memset(list, 0, sizeof(list));
	be64_put(list, key);
	be64_put(list + 8, action_key);
	list[20] = flags;
}

struct command *persistent_out(struct nexuses *n, unsigned nexus, uint8_t action, uint8_t type,
	uint64_t key, uint64_t action_key, uint8_t flags)
{
	list_begin(key, action_key, flags);
	return with_list(n, nexus, action, type, list, 24);
}

struct command *register_for(struct nexuses *n, unsigned nexus, uint64_t key, uint8_t flags,
	const uint64_t *ids, unsigned count)
{
	list_begin(0, key, flags | LIST_SPEC_I_PT);
	be32_put(list + 24, count * 24);
	for (unsigned i = 0; i < count; i++) {
		list[28 + i * 24] = SCSI_TRANSPORT_SAS;
		be64_put(list + 28 + i * 24 + 4, ids[i]);
	}
	return with_list(n, nexus, SCSI_SA_REGISTER, 0, list, 28 + count * 24);
}

struct command *register_and_move(struct nexuses *n, unsigned nexus, uint64_t key,
	uint64_t action_key, bool unreg, uint64_t initiator, uint16_t port)
{
	list_begin(key, action_key, 0);
	list[17] = unreg ? 0x02 : 0;
	be16_put(list + 18, port);
	be32_put(list + 20, 24);
	list[24] = SCSI_TRANSPORT_SAS;
	be64_put(list + 28, initiator);
	return with_list(n, nexus, SCSI_SA_REGISTER_AND_MOVE, 0, list, 48);
}

struct command *persistent_in(struct nexuses *n, unsigned nexus, uint8_t action)
{
	struct command *command = FROM(n, nexus, SCSI_PERSISTENT_IN, action);

	be16_put(command->cdb + 7, 32768);
	command->in_len = 32768;
	return command;
}

struct command *read_one(struct nexuses *n, unsigned nexus)
{
	struct command *command = FROM(n, nexus, SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->in_len = 512;
	return command;
}

struct command *write_one(struct nexuses *n, unsigned nexus)
{
	static const uint8_t data[512];
	struct command *command = FROM(n, nexus, SCSI_WRITE_10, 0, 0, 0, 0, 1, 0, 0, 1);

	command->out = data;
	command->out_len = 512;
	return command;
}

void wants_status(struct command *command, uint8_t status)
{
	command_run(command);
	assert_int_equal(command->task.response, SCSI_RESPONSE_OK);
	assert_int_equal(command->task.status, status);
	command_free(command);
}

void wants_conflict(struct command *command)
{
	wants_status(command, SCSI_STATUS_RESERVATION_CONFLICT);
}

void registers(struct nexuses *n, unsigned nexus, uint64_t key)
{
	wants_status(persistent_out(n, nexus, SCSI_SA_REGISTER_AND_IGNORE, 0, 0, key, 0),
		SCSI_STATUS_GOOD);
}

void reserves(struct nexuses *n, unsigned nexus, uint64_t key, uint8_t type)
{
	wants_status(persistent_out(n, nexus, SCSI_SA_RESERVE, type, key, 0, 0), SCSI_STATUS_GOOD);
}

void all_register(struct nexuses *n)
{
	for (unsigned i = 0; i < NEXUSES; i++)
		registers(n, i, i + 1);
}

void listens(struct nexuses *n, unsigned nexus)
{
	uint8_t status;

	do {
		struct command *command = FROM(n, nexus, SCSI_TEST_UNIT_READY);

		command_run(command);
		status = command->task.status;
		command_free(command);
	} while (status == SCSI_STATUS_CHECK_CONDITION);
}

/* ---- answers ------------------------------------------------------------------------------- */

void read_full_status(struct nexuses *n, unsigned nexus, struct registrations *ret)
{
	struct command *command = persistent_in(n, nexus, SCSI_SA_READ_FULL_STATUS);

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	ret->generation = be32_get(command->in);
	ret->count = be32_get(command->in + 4) / 48;
	assert_int_equal(be32_get(command->in + 4), ret->count * 48);
	assert_int_equal(command->task.transferred, 8 + ret->count * 48);
	for (unsigned i = 0; i < ret->count; i++) {
		const uint8_t *at = command->in + 8 + i * 48;

		ret->list[i].key = be64_get(at);
		ret->list[i].holder = at[12] & 1;
		ret->list[i].type = at[13];
		ret->list[i].port = be16_get(at + 18);
		assert_int_equal(be32_get(at + 20), 24);
		assert_int_equal(at[24], SCSI_TRANSPORT_SAS);
		ret->list[i].initiator = be64_get(at + 28);
	}
	command_free(command);
}

uint8_t read_reservation(struct nexuses *n, unsigned nexus, uint64_t *ret_key)
{
	struct command *command = persistent_in(n, nexus, SCSI_SA_READ_RESERVATION);
	uint8_t type = 0;

	command_run(command);
	assert_int_equal(command_sense(command), 0);
	*ret_key = 0;
	if (be32_get(command->in + 4)) {
		assert_int_equal(be32_get(command->in + 4), 16);
		*ret_key = be64_get(command->in + 8);
		type = command->in[21];
		assert_int_not_equal(type, 0);
	}
	command_free(command);
	return type;
}
