/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi/identity.h"

#include <stdio.h>
#include <string.h>

#include "base/endian.h"

#define NAA_LOCALLY_ASSIGNED (UINT64_C(3) << 60)

void scsi_identity_make(const uuid_t uuid, char serial[SCSI_SERIAL_BYTES + 1], uint8_t naa[8])
{
	uint64_t folded = be64_get(uuid) ^ be64_get(uuid + 8);

	for (unsigned i = 0; i < 16; i++)
		snprintf(serial + 2 * i, 3, "%02x", uuid[i]);
	/* The top four bits make room for the type: they are folded in at the bottom. */
	folded = (folded ^ folded >> 60) & (NAA_LOCALLY_ASSIGNED / 3 - 1);
	be64_put(naa, NAA_LOCALLY_ASSIGNED | folded);
}

uint64_t scsi_identity_of_initiator(const char *name)
{
	/* A name space of our own, drawn once. */
	static const uuid_t names = {0x9c, 0x3b, 0x51, 0x0e, 0x7a, 0x44, 0x4d, 0x0f, 0xb1, 0x6e,
		0x21, 0x8d, 0xf0, 0x35, 0xc9, 0x72};
	uuid_t hash;

	uuid_generate_sha1(hash, names, name, strlen(name));
	return NAA_LOCALLY_ASSIGNED | (be64_get(hash) & (NAA_LOCALLY_ASSIGNED / 3 - 1));
}

uint64_t scsi_identity_of_port(const char *controller, unsigned target, uint8_t naa[8])
{
	/* A name space of our own, drawn once. */
	static const uuid_t names = {0x3f, 0x0a, 0xc7, 0x52, 0x19, 0xe6, 0x43, 0x8b, 0xa5, 0x7d,
		0x60, 0x2c, 0x94, 0xfb, 0x08, 0xd1};
	uuid_t of_controller, hash;
	uint8_t number[2];

	be16_put(number, (uint16_t)target);
	uuid_generate_sha1(of_controller, names, controller, strlen(controller));
	uuid_generate_sha1(hash, of_controller, (const char *)number, sizeof(number));
	be64_put(naa, NAA_LOCALLY_ASSIGNED | (be64_get(hash) & (NAA_LOCALLY_ASSIGNED / 3 - 1)));
	return be64_get(hash + 8);
}
