/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Target ports, and asymmetric access to a logical unit through them: SPC-4 5.15.
 *
 * A target port is a target of a controller; two controllers that share a logical unit are two
 * ports of it. Its name and its relative identifier are made from the controller's name and the
 * target's number, so they are the same after every start; the identifier, which has 16 bits, is
 * moved on where the logical unit has one such already. Each port is a group of its own, with the
 * same number, so that each can be switched alone.
 *
 * All states but transitioning and offline can be set. They are kept in memory: a port that is
 * attached begins active and optimized. The bits of the two in which most commands are refused are
 * in the attachment's attention.
 */
#ifndef SCSI_PORT_H
#define SCSI_PORT_H

#include "scsi/lun.h"

struct scsi_command;

enum scsi_access_state {
	SCSI_ACCESS_OPTIMIZED = 0x0,
	SCSI_ACCESS_NON_OPTIMIZED = 0x1,
	SCSI_ACCESS_STANDBY = 0x2,
	SCSI_ACCESS_UNAVAILABLE = 0x3,
};

/* For lun.c: of an attachment that has its lun and is not on its list yet. */
void scsi_port_init(struct scsi_attachment *attachment, const char *controller, unsigned target);

/* Control reactor. */
void scsi_port_set_access(struct scsi_attachment *attachment, enum scsi_access_state state);

/* The code of NOT READY with which that command is refused; 0: it is not. */
uint16_t scsi_port_refuses(uint32_t attention, const struct scsi_command *command);

#endif
