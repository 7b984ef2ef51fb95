/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Persistent reservations on disk: one small file for each logical unit that ever had any, in the
 * folder "reservations" of the daemon's state directory, named by the uuid of its block device. All
 * functions that take an os block: workers call them.
 */
#ifndef SCSI_RESERVATION_FILE_H
#define SCSI_RESERVATION_FILE_H

#include <uuid/uuid.h>

#include "os/os.h"
#include "scsi/reservation.h"

/* What is in force after a start. *ret_reservation is the caller's to free; NULL where there is no
 * file. A file that is damaged is set aside, which is logged, and counts as none. -errno with a
 * sentence: there may be one, and it cannot be read. */
int scsi_reservation_load(struct os *os, const char *state_dir, const uuid_t uuid,
	struct reason *reason, struct scsi_reservation **ret_reservation) MUST_CHECK;

/* Replaces it, at once or not at all; stable when this returns 0. -errno: the old one is there, or
 * the new one. */
int scsi_reservation_save(struct os *os, const char *state_dir, const uuid_t uuid,
	const struct scsi_reservation *reservation, struct reason *reason) MUST_CHECK;

#define SCSI_BOOT_ID_BYTES 36

/* The file as bytes. Encoding allocates *ret_bytes (-ENOMEM); decoding says -EINVAL to whatever is
 * not exactly what encoding makes. boot_id: of the host, as the kernel writes it, or zeroes. */
int scsi_reservation_encode(const struct scsi_reservation *reservation, const uuid_t uuid,
	const char boot_id[SCSI_BOOT_ID_BYTES], uint8_t **ret_bytes, size_t *ret_len) MUST_CHECK;
int scsi_reservation_decode(const uint8_t *bytes, size_t len, const uuid_t uuid,
	char ret_boot_id[SCSI_BOOT_ID_BYTES], struct scsi_reservation **ret_reservation) MUST_CHECK;

#endif
