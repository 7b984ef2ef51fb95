/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Persistent reservations on disk (reservation_file.h).
 *
 * The file, little-endian:
 *
 *	 0  8	"SlcPRv01"
 *	 8  4	CRC-32C of everything from byte 12 on
 *	12  4	number of registrations
 *	16 16	uuid of the block device
 *	32 36	boot_id of the host that wrote it
 *	68  4	PRGENERATION
 *	72  1	type, 0: no reservation
 *	73  1	APTPL
 *	74  2	target port of the holder \ 0 where there is none, or all
 *	76  4	0			   > registrants hold
 *	80  8	initiator of the holder	  /
 *	88	24 for each registration: initiator 8, target port 2, 0 6, key 8
 *
 * Written to NAME.new, made stable, renamed to NAME, and the folder made stable. Where a kill or a
 * power cut may fall:
 *
 *	before the rename	the old state; NAME.new is overwritten by the next
 *	after the rename	the new state; a power cut may still bring the old one back, which
 *				nobody has been told is gone
 *	after the folder	the new state: only now the command is answered
 *
 * The daemon's end is no power loss of the logical unit: guests run on. So everything is kept
 * whatever APTPL says, until the host itself has started anew, which the boot_id tells (zeroes: not
 * known): then, as the standard has it for a power loss, PRGENERATION starts from 0, and
 * registrations and reservation have gone unless APTPL was 1.
 */
#include "scsi/reservation_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/paths.h"

#define MAGIC              "SlcPRv01"
#define HEADER_BYTES       88
#define REGISTRATION_BYTES 24
#define FILE_BYTES_MAX     (HEADER_BYTES + SCSI_REGISTRATIONS_MAX * REGISTRATION_BYTES)

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

/* ---- bytes --------------------------------------------------------------------------------- */

static void nexus_put(uint8_t *initiator, uint8_t *port, const struct scsi_nexus *nexus)
{
	le64_put(initiator, nexus->initiator);
	le16_put(port, nexus->port);
}

static struct scsi_nexus nexus_get(const uint8_t *initiator, const uint8_t *port)
{
	return (struct scsi_nexus){.initiator = le64_get(initiator), .port = le16_get(port)};
}

int scsi_reservation_encode(const struct scsi_reservation *reservation, const uuid_t uuid,
	const char boot_id[SCSI_BOOT_ID_BYTES], uint8_t **ret_bytes, size_t *ret_len)
{
	static const struct scsi_reservation none;
	const struct scsi_reservation *from = reservation ? reservation : &none;
	size_t len = HEADER_BYTES + from->count * REGISTRATION_BYTES;
	uint8_t *bytes = calloc(1, len);

	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, MAGIC, 8);
	le32_put(bytes + 12, from->count);
	memcpy(bytes + 16, uuid, 16);
	memcpy(bytes + 32, boot_id, SCSI_BOOT_ID_BYTES);
	le32_put(bytes + 68, from->generation);
	bytes[72] = from->type;
	bytes[73] = from->aptpl;
	nexus_put(bytes + 80, bytes + 74, &from->holder);
	for (unsigned i = 0; i < from->count; i++) {
		uint8_t *at = bytes + HEADER_BYTES + i * REGISTRATION_BYTES;

		nexus_put(at, at + 8, &from->registrations[i].nexus);
		le64_put(at + 16, from->registrations[i].key);
	}
	le32_put(bytes + 8, crc32c(bytes + 12, len - 12));
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

/* What the rules of reservation_out.c can lead to. */
static bool state_is_possible(const struct scsi_reservation *state)
{
	for (unsigned i = 0; i < state->count; i++) {
		const struct scsi_registration *each = &state->registrations[i];

		if (!each->key || !each->nexus.port ||
			scsi_reservation_find(state, &each->nexus) != each)
			return false;
	}
	if (!state->type)
		return true;
	if (!scsi_reservation_type_is_valid(state->type))
		return false;
	if (scsi_reservation_is_of_all(state))
		return state->count > 0;
	return scsi_reservation_find(state, &state->holder) != NULL;
}

int scsi_reservation_decode(const uint8_t *bytes, size_t len, const uuid_t uuid,
	char ret_boot_id[SCSI_BOOT_ID_BYTES], struct scsi_reservation **ret_reservation)
{
	struct scsi_reservation *state;
	uint32_t count;

	if (len < HEADER_BYTES || memcmp(bytes, MAGIC, 8) != 0 ||
		le32_get(bytes + 8) != crc32c(bytes + 12, len - 12) ||
		memcmp(bytes + 16, uuid, 16) != 0)
		return -EINVAL;
	count = le32_get(bytes + 12);
	if (count > SCSI_REGISTRATIONS_MAX || len != HEADER_BYTES + count * REGISTRATION_BYTES)
		return -EINVAL;
	state = scsi_reservation_copy(NULL, count);
	if (!state)
		return -ENOMEM;
	state->generation = le32_get(bytes + 68);
	state->type = bytes[72];
	state->aptpl = bytes[73];
	state->holder = nexus_get(bytes + 80, bytes + 74);
	state->count = count;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *at = bytes + HEADER_BYTES + i * REGISTRATION_BYTES;

		state->registrations[i].nexus = nexus_get(at, at + 8);
		state->registrations[i].key = le64_get(at + 16);
	}
	if (!state_is_possible(state)) {
		free(state);
		return -EINVAL;
	}
	memcpy(ret_boot_id, bytes + 32, SCSI_BOOT_ID_BYTES);
	*ret_reservation = state;
	return 0;
}

/* ---- files --------------------------------------------------------------------------------- */

struct names {
	char folder[PATHS_MAX];
	char file[PATHS_MAX];
	char new_file[PATHS_MAX];
	char damaged[PATHS_MAX];
};

static int names_make(
	struct names *names, const char *state_dir, const uuid_t uuid, struct reason *reason)
{
	char text[UUID_STR_LEN];

	if (strlen(state_dir) + sizeof("/reservations/.damaged") + UUID_STR_LEN > PATHS_MAX)
		return reason_set(reason, -ENAMETOOLONG,
			"the path of the state directory is too long: choose another with "
			"--state-dir");
	uuid_unparse_lower(uuid, text);
	strcpy(names->folder, state_dir);
	strcat(names->folder, "/reservations");
	stpcpy(stpcpy(stpcpy(names->file, names->folder), "/"), text);
	stpcpy(stpcpy(names->new_file, names->file), ".new");
	stpcpy(stpcpy(names->damaged, names->file), ".damaged");
	return 0;
}

/* Zeroes where the kernel does not say. */
static void boot_id_read(struct os *os, char boot_id[SCSI_BOOT_ID_BYTES])
{
	int fd;

	memset(boot_id, 0, SCSI_BOOT_ID_BYTES);
	if (os->ops->file_open(os, BOOT_ID_PATH, OS_OPEN_READ, 0, &fd))
		return;
	if (os->ops->file_read(os, fd, boot_id, SCSI_BOOT_ID_BYTES, 0) != SCSI_BOOT_ID_BYTES)
		memset(boot_id, 0, SCSI_BOOT_ID_BYTES);
	os->ops->close(os, fd);
}

/* Up to size bytes; how many there were. */
static int64_t file_read_whole(struct os *os, int fd, uint8_t *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		int64_t part = os->ops->file_read(os, fd, buf + len, size - len, len);

		if (part < 0)
			return part;
		if (part == 0)
			break;
		len += (size_t)part;
	}
	return (int64_t)len;
}

/* *ret_len: 0 where there is no file; a file that is too long comes cut, one byte too long. */
static int file_load(struct os *os, const char *path, uint8_t *buf, size_t size, size_t *ret_len)
{
	int64_t len;
	int fd;
	int rc = os->ops->file_open(os, path, OS_OPEN_READ, 0, &fd);

	*ret_len = 0;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	len = file_read_whole(os, fd, buf, size);
	os->ops->close(os, fd);
	if (len < 0)
		return (int)len;
	*ret_len = (size_t)len;
	return len ? 0 : -EINVAL;
}

static int set_aside(struct os *os, const struct names *names, struct reason *reason)
{
	int rc = os->ops->file_rename(os, names->file, names->damaged);

	if (rc)
		return reason_set(reason, rc,
			"%s is damaged and cannot be set aside (%s): remove it by hand; its SCSI "
			"reservations are lost",
			names->file, strerror(-rc));
	log_error("%s was damaged and is %s now: the SCSI reservations of that disk are lost, "
		  "machines that shared it must reserve it again",
		names->file, names->damaged);
	return 0;
}

/* The host has started anew. */
static void state_lose_power(struct scsi_reservation *state)
{
	state->generation = 0;
	if (state->aptpl)
		return;
	state->count = 0;
	state->type = 0;
	memset(&state->holder, 0, sizeof(state->holder));
}

static int load_bytes(struct os *os, const struct names *names, const uuid_t uuid, uint8_t *buf,
	struct scsi_reservation **ret_reservation)
{
	char now[SCSI_BOOT_ID_BYTES], then[SCSI_BOOT_ID_BYTES];
	struct scsi_reservation *state;
	size_t len;
	int rc = file_load(os, names->file, buf, FILE_BYTES_MAX + 1, &len);

	if (rc || len == 0)
		return rc;
	rc = scsi_reservation_decode(buf, len, uuid, then, &state);
	if (rc)
		return rc;
	boot_id_read(os, now);
	if (now[0] && then[0] && memcmp(now, then, sizeof(now)) != 0)
		state_lose_power(state);
	*ret_reservation = state;
	return 0;
}

int scsi_reservation_load(struct os *os, const char *state_dir, const uuid_t uuid,
	struct reason *reason, struct scsi_reservation **ret_reservation)
{
	struct names *names = malloc(sizeof(*names));
	uint8_t *buf = malloc(FILE_BYTES_MAX + 1);
	int rc = names && buf ? names_make(names, state_dir, uuid, reason) : -ENOMEM;

	*ret_reservation = NULL;
	if (!rc) {
		rc = load_bytes(os, names, uuid, buf, ret_reservation);
		if (rc == -EINVAL)
			rc = set_aside(os, names, reason);
		else if (rc)
			reason_set(reason, rc,
				"the SCSI reservations in %s cannot be read (%s): make it "
				"readable, "
				"or remove it to lose them",
				names->file, strerror(-rc));
	}
	free(buf);
	free(names);
	return rc;
}

/* ---- saving -------------------------------------------------------------------------------- */

static int file_write_whole(struct os *os, const char *path, const uint8_t *bytes, size_t len)
{
	size_t done = 0;
	int fd;
	int rc = os->ops->file_open(
		os, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_TRUNCATE, 0600, &fd);

	if (rc)
		return rc;
	while (!rc && done < len) {
		int64_t part = os->ops->file_write(os, fd, bytes + done, len - done, done);

		rc = part < 0 ? (int)part : part == 0 ? -EIO : 0;
		done += part > 0 ? (size_t)part : 0;
	}
	if (!rc)
		rc = os->ops->file_sync(os, fd);
	os->ops->close(os, fd);
	return rc;
}

static int folder_sync(struct os *os, const char *path)
{
	int fd;
	int rc = os->ops->file_open(os, path, OS_OPEN_DIRECTORY, 0, &fd);

	if (rc)
		return rc;
	rc = os->ops->file_sync(os, fd);
	os->ops->close(os, fd);
	return rc;
}

/* The folder's own name is stable before anything in it is. */
static int folder_make(struct os *os, const char *folder, const char *state_dir)
{
	int rc = os->ops->directory_create(os, folder, 0700);

	if (rc == -EEXIST)
		return 0;
	return rc ? rc : folder_sync(os, state_dir);
}

static int save_bytes(struct os *os, const struct names *names, const char *state_dir,
	const uint8_t *bytes, size_t len)
{
	int rc = folder_make(os, names->folder, state_dir);

	if (rc)
		return rc;
	rc = file_write_whole(os, names->new_file, bytes, len);
	if (!rc)
		rc = os->ops->file_rename(os, names->new_file, names->file);
	if (rc) {
		os->ops->file_unlink(os, names->new_file);
		return rc;
	}
	return folder_sync(os, names->folder);
}

int scsi_reservation_save(struct os *os, const char *state_dir, const uuid_t uuid,
	const struct scsi_reservation *reservation, struct reason *reason)
{
	struct names *names = malloc(sizeof(*names));
	char boot_id[SCSI_BOOT_ID_BYTES];
	uint8_t *bytes = NULL;
	size_t len = 0;
	int rc = names ? names_make(names, state_dir, uuid, reason) : -ENOMEM;

	boot_id_read(os, boot_id);
	if (!rc)
		rc = scsi_reservation_encode(reservation, uuid, boot_id, &bytes, &len);
	if (!rc)
		rc = save_bytes(os, names, state_dir, bytes, len);
	if (rc && names)
		reason_set(reason, rc,
			"SCSI reservations cannot be kept in %s (%s): make room or make it "
			"writable, until then machines are refused new ones",
			names->folder, strerror(-rc));
	free(bytes);
	free(names);
	return rc;
}
