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

#endif
