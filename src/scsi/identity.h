/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who a logical unit is. Derived from the block device's uuid alone: the same disk has the same
 * identity behind any controller, in any daemon, for ever. Guests write it into boot
 * configurations, cluster configurations and udev links; nothing here may ever change.
 */
#ifndef SCSI_IDENTITY_H
#define SCSI_IDENTITY_H

#include "scsi/lun.h"

#define SCSI_VENDOR   "SLUICE  "
#define SCSI_PRODUCT  "VIRTUAL DISK    "
#define SCSI_REVISION "0001"

/* serial: the uuid as 32 hexadecimal digits. naa: an NAA locally assigned identifier (3h) whose 60
 * bits are the uuid's two halves folded into one. */
void scsi_identity_make(const uuid_t uuid, char serial[SCSI_SERIAL_BYTES + 1], uint8_t naa[8]);

/* The SAS address of the initiator port that is behind a controller of that name: NAA 3, locally
 * assigned. The same for ever; of different names, as good as certainly, different. */
uint64_t scsi_identity_of_initiator(const char *name);

/* The name of a target port, into naa, and a number for it that is as good as random: both from the
 * controller's name and the target's number on it alone. */
uint64_t scsi_identity_of_port(const char *controller, unsigned target, uint8_t naa[8]);

/* SPC-4 7.8.6.5, from the same bits as the NAA name; locally administered, of one unit. */
void scsi_identity_make_eui_64(const uint8_t naa[8], uint8_t eui_64[8]);
/* SPC-4 7.8.6.11: "naa." and 16 digits. */
#define SCSI_NAME_BYTES 20
void scsi_identity_make_name(const uint8_t naa[8], char name[SCSI_NAME_BYTES]);

/* SPC-4 7.8.6.1: code set, association and type, length, designator. */
#define SCSI_CODE_BINARY     1
#define SCSI_CODE_ASCII      2
#define SCSI_CODE_UTF8       3
#define SCSI_DESIGNATOR_T10  0x01
#define SCSI_DESIGNATOR_EUI  0x02
#define SCSI_DESIGNATOR_NAA  0x03
#define SCSI_DESIGNATOR_NAME 0x08

/* The NAA name of the unit of ours that this designation descriptor (of no more than 24 bytes) is
 * of; false: it can be of none. */
bool scsi_identity_parse(const uint8_t *descriptor, uint8_t ret_naa[8]);

#endif
