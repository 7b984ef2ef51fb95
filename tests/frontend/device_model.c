/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs in the same thread as the driver, so it needs no barriers, and has none. */
#include <string.h>

#include "frontend/device_model.h"

static uint16_t load16(const struct model *model, uint64_t gpa)
{
	uint16_t value;

	fe_memory_read(model->memory, gpa, &value, sizeof(value));
	return value;
}

static void store16(const struct model *model, uint64_t gpa, uint16_t value)
{
	fe_memory_write((struct fe_memory *)(uintptr_t)model->memory, gpa, &value, sizeof(value));
}

static void store32(const struct model *model, uint64_t gpa, uint32_t value)
{
	fe_memory_write((struct fe_memory *)(uintptr_t)model->memory, gpa, &value, sizeof(value));
}

struct raw { /* both formats have the same shape; only the last words differ */
	uint64_t gpa;
	uint32_t len;
	uint16_t a, b; /* split: flags, next; packed: id, flags */
};

static struct raw load_desc(const struct model *model, uint64_t table, uint32_t index)
{
	struct raw raw;

	fe_memory_read(model->memory, table + index * 16ull, &raw, sizeof(raw));
	return raw;
}

void model_init(struct model *model, const struct fe_memory *memory, const struct fe_ring *ring,
	uint32_t base)
{
	*model = (struct model){
		.memory = memory,
		.size = ring->size,
		.packed = ring->packed,
		.event_idx = ring->event_idx,
	};
	if (ring->packed) {
		model->desc = fe_memory_gpa(memory, ring->packed_desc);
		model->driver = fe_memory_gpa(memory, ring->driver_event);
		model->device = fe_memory_gpa(memory, ring->device_event);
		model->avail_idx = base & 0x7fff;
		model->avail_wrap = base >> 15 & 1;
		model->used_idx = base >> 16 & 0x7fff;
		model->used_wrap = base >> 31;
	} else {
		model->desc = fe_memory_gpa(memory, ring->desc);
		model->driver = fe_memory_gpa(memory, ring->avail);
		model->device = fe_memory_gpa(memory, ring->used);
		model->avail_idx = model->used_idx = base;
	}
}

static int add_segment(struct model_chain *chain, const struct raw *raw, uint16_t flags)
{
	bool write = flags & FE_DESC_WRITE;

	if (chain->count == MODEL_MAX_SEGMENTS)
		return -1;
	if (!write && chain->count && chain->segments[chain->count - 1].write)
		return -1; /* readable behind writable */
	chain->segments[chain->count++] = (struct fe_segment){raw->gpa, raw->len, write};
	return 0;
}

/* ---- split ---- */

static int walk_split(const struct model *model, uint64_t table, uint32_t entries, uint32_t index,
	bool inside, struct model_chain *chain)
{
	uint32_t steps;

	for (steps = 0; steps < entries; steps++) {
		struct raw raw;

		if (index >= entries)
			return -1;
		raw = load_desc(model, table, index);
		if (raw.a & FE_DESC_INDIRECT) {
			if (inside || raw.a & FE_DESC_NEXT || !raw.len || raw.len % 16)
				return -1;
			return walk_split(model, raw.gpa, raw.len / 16, 0, true, chain);
		}
		if (add_segment(chain, &raw, raw.a))
			return -1;
		if (!(raw.a & FE_DESC_NEXT))
			return 0;
		index = raw.b;
	}
	return -1; /* a loop */
}

static int take_split(struct model *model, struct model_chain *chain)
{
	uint16_t pending = (uint16_t)(load16(model, model->driver + 2) - model->avail_idx);

	if (!pending)
		return 0;
	if (pending > model->size)
		return -1;
	chain->id = load16(model, model->driver + 4 + model->avail_idx % model->size * 2);
	chain->count = 0;
	model->avail_idx = (uint16_t)(model->avail_idx + 1);
	return walk_split(model, model->desc, model->size, chain->id, false, chain) ? -1 : 1;
}

static bool give_split(struct model *model, const struct model_chain *const *chains,
	const uint32_t *lens, uint32_t count)
{
	uint16_t old = (uint16_t)model->used_idx;
	uint16_t now = (uint16_t)(old + count);
	uint16_t event;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t elem = model->device + 4 + (uint16_t)(old + i) % model->size * 8;

		store32(model, elem, chains[i]->id);
		store32(model, elem + 4, lens[i]);
	}
	store16(model, model->device + 2, now);
	model->used_idx = now;
	if (!model->event_idx)
		return !(load16(model, model->driver) & 1);
	event = load16(model, model->driver + 4 + model->size * 2);
	/* 2.7.7.2: the entry number `event` is among those just written. */
	for (i = 0; i < count; i++)
		if ((uint16_t)(old + i) == event)
			return true;
	return false;
}

/* ---- packed ---- */

static void step_packed(const struct model *model, uint32_t *position, bool *wrap, uint32_t count)
{
	*position += count;
	if (*position >= model->size) {
		*position -= model->size;
		*wrap = !*wrap;
	}
}

static int take_table(const struct model *model, const struct raw *raw, struct model_chain *chain)
{
	uint32_t i;

	if (!raw->len || raw->len % 16)
		return -1;
	for (i = 0; i < raw->len / 16; i++) {
		struct raw entry = load_desc(model, raw->gpa, i);

		if (entry.b & FE_DESC_INDIRECT || add_segment(chain, &entry, entry.b))
			return -1;
	}
	return 0;
}

static bool is_available(const struct model *model, uint16_t flags)
{
	bool avail = flags & FE_PACKED_AVAIL, used = flags & FE_PACKED_USED;

	return avail == model->avail_wrap && used != model->avail_wrap;
}

static int take_packed(struct model *model, struct model_chain *chain)
{
	struct raw raw = load_desc(model, model->desc, model->avail_idx);

	if (!is_available(model, raw.b))
		return 0;
	chain->count = chain->slots = 0;
	for (;;) {
		if (!is_available(model, raw.b) || chain->slots == model->size)
			return -1;
		if (raw.b & FE_DESC_INDIRECT) {
			if (chain->slots || raw.b & FE_DESC_NEXT || take_table(model, &raw, chain))
				return -1;
		} else if (add_segment(chain, &raw, raw.b)) {
			return -1;
		}
		chain->slots++;
		step_packed(model, &model->avail_idx, &model->avail_wrap, 1);
		if (!(raw.b & FE_DESC_NEXT))
			break;
		raw = load_desc(model, model->desc, model->avail_idx);
	}
	chain->id = raw.a;
	return 1;
}

static bool give_packed(struct model *model, const struct model_chain *const *chains,
	const uint32_t *lens, uint32_t count)
{
	uint16_t event = load16(model, model->driver), wish = load16(model, model->driver + 2);
	bool passed = false;
	uint32_t i, j;

	for (i = 0; i < count; i++) {
		uint64_t slot = model->desc + model->used_idx * 16ull;
		uint16_t flags = model->used_wrap ? FE_PACKED_AVAIL | FE_PACKED_USED : 0;

		store32(model, slot + 8, lens[i]);
		store16(model, slot + 12, chains[i]->id);
		store16(model, slot + 14, (uint16_t)(flags | (lens[i] ? FE_DESC_WRITE : 0)));
		/* 2.8.10: the event position counts as passed with any slot of the chain. */
		for (j = 0; j < chains[i]->slots; j++) {
			uint16_t here =
				(uint16_t)(model->used_idx | (model->used_wrap ? 0x8000 : 0));

			passed |= here == event;
			step_packed(model, &model->used_idx, &model->used_wrap, 1);
		}
	}
	if (wish == FE_EVENT_AT && model->event_idx)
		return passed;
	return wish != FE_EVENT_NEVER;
}

/* ---- either ---- */

int model_take(struct model *model, struct model_chain *ret_chain)
{
	return model->packed ? take_packed(model, ret_chain) : take_split(model, ret_chain);
}

bool model_give(struct model *model, const struct model_chain *const *chains, const uint32_t *lens,
	uint32_t count)
{
	return model->packed ? give_packed(model, chains, lens, count)
			     : give_split(model, chains, lens, count);
}

static bool has_work(const struct model *model)
{
	if (model->packed)
		return is_available(model, load_desc(model, model->desc, model->avail_idx).b);
	return load16(model, model->driver + 2) != (uint16_t)model->avail_idx;
}

bool model_want_kicks(struct model *model, bool on)
{
	uint16_t position = (uint16_t)(model->avail_idx | (model->avail_wrap ? 0x8000 : 0));

	if (model->packed) {
		store16(model, model->device, position);
		store16(model, model->device + 2,
			!on                ? FE_EVENT_NEVER
			: model->event_idx ? FE_EVENT_AT
					   : FE_EVENT_ALWAYS);
	} else if (model->event_idx) {
		uint16_t event = (uint16_t)(on ? model->avail_idx : model->avail_idx - 1);

		store16(model, model->device + 4 + model->size * 8, event);
	} else {
		store16(model, model->device, on ? 0 : FE_USED_NO_NOTIFY);
	}
	return has_work(model);
}
