/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi/identity.h"

#include <stdio.h>
#include <stdlib.h>
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

void scsi_identity_make_eui_64(const uint8_t naa[8], uint8_t eui_64[8])
{
	memcpy(eui_64, naa, 8);
	eui_64[0] = (uint8_t)((eui_64[0] & 0x0f) << 4 | 0x02);
}

void scsi_identity_make_name(const uint8_t naa[8], char name[SCSI_NAME_BYTES])
{
	memcpy(name, "naa.", 4);
	for (unsigned i = 0; i < 16; i++)
		name[4 + i] = "0123456789abcdef"[naa[i / 2] >> (i % 2 ? 0 : 4) & 15];
}

static bool parse_eui_64(const uint8_t *designator, uint8_t ret_naa[8])
{
	if ((designator[0] & 0x0f) != 0x02)
		return false;
	memcpy(ret_naa, designator, 8);
	ret_naa[0] = (uint8_t)(NAA_LOCALLY_ASSIGNED >> 56 | designator[0] >> 4);
	return true;
}

/* Digits may be of both cases. */
static bool parse_name(const uint8_t *designator, uint8_t ret_naa[8])
{
	char digits[17] = {0};
	char *end;

	if (memcmp(designator, "naa.", 4) != 0)
		return false;
	memcpy(digits, designator + 4, 16);
	be64_put(ret_naa, strtoull(digits, &end, 16));
	return end == digits + 16;
}

bool scsi_identity_parse(const uint8_t *descriptor, uint8_t ret_naa[8])
{
	uint8_t code_set = descriptor[0] & 0x0f;
	uint8_t type = descriptor[1] & 0x3f; /* association 0: the logical unit */
	uint8_t len = descriptor[3];

	if (code_set == SCSI_CODE_BINARY && type == SCSI_DESIGNATOR_NAA && len == 8) {
		memcpy(ret_naa, descriptor + 4, 8);
		return true;
	}
	if (code_set == SCSI_CODE_BINARY && type == SCSI_DESIGNATOR_EUI && len == 8)
		return parse_eui_64(descriptor + 4, ret_naa);
	if (code_set == SCSI_CODE_UTF8 && type == SCSI_DESIGNATOR_NAME && len == SCSI_NAME_BYTES)
		return parse_name(descriptor + 4, ret_naa);
	return false;
}
