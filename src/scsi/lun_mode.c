/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi/lun_mode.h"

#include "scsi/lun_state.h"
#include "scsi/store.h"

#define STORE_KEY "mode"

static const struct {
	const char *name; /* in the store */
	uint32_t flag;
} names[] = {
	{"wce", SCSI_MODE_WCE},
	{"d_sense", SCSI_MODE_D_SENSE},
	{"swp", SCSI_MODE_SWP},
};

/* What the store does not tell, or tells as no boolean, is the default. */
static uint32_t flags_of_stored(const json_t *stored)
{
	uint32_t flags = SCSI_MODE_DEFAULTS;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *value = json_object_get(stored, names[i].name);

		if (json_is_true(value))
			flags |= names[i].flag;
		else if (json_is_false(value))
			flags &= ~names[i].flag;
	}
	return flags;
}

static json_t *stored_of_flags(uint32_t flags)
{
	json_t *stored = json_object();

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set_new(stored, names[i].name, json_boolean(flags & names[i].flag));
	return stored;
}

/* Without a cache there is nothing to write through. */
static uint32_t conditions_of_flags(const struct scsi_lun *lun, uint32_t flags)
{
	uint32_t conditions = 0;

	if (flags & SCSI_MODE_SWP)
		conditions |= SCSI_ATTENTION_WRITE_PROTECT;
	if (!(flags & SCSI_MODE_WCE) && bdev_supports(lun->bdev, BDEV_IO_FLUSH))
		conditions |= SCSI_ATTENTION_WRITE_THROUGH;
	return conditions;
}

bool scsi_lun_mode_set(struct scsi_lun *lun, uint32_t flags)
{
	uint32_t before = atomic_exchange_explicit(&lun->mode, flags, memory_order_relaxed);

	scsi_lun_set_conditions(lun, conditions_of_flags(lun, flags),
		SCSI_ATTENTION_WRITE_PROTECT | SCSI_ATTENTION_WRITE_THROUGH);
	return before != flags;
}

void scsi_lun_mode_init(struct scsi_lun *lun)
{
	uint32_t flags = flags_of_stored(scsi_store_get(lun->store, lun->serial, STORE_KEY));

	atomic_store_explicit(&lun->mode_saved, flags, memory_order_relaxed);
	scsi_lun_mode_set(lun, flags);
}

void scsi_lun_mode_save(struct scsi_lun *lun, uint32_t flags, done_fn done, void *arg)
{
	atomic_store_explicit(&lun->mode_saved, flags, memory_order_relaxed);
	scsi_store_set(lun->store, lun->serial, STORE_KEY,
		flags == SCSI_MODE_DEFAULTS ? NULL : stored_of_flags(flags), done, arg);
}
