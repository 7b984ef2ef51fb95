/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 11 to 16: what is offered, and what is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conformance/server.h"

static const enum fe_bus buses[] = {FE_BUS_BLK, FE_BUS_SCSI};

struct offer {
	uint64_t features, protocol_features;
};

static struct offer read_offer(struct server *server)
{
	struct fe *fe = server_connect(server);
	struct offer offer;

	assert_ok(fe, fe_get_u64(fe, FE_GET_FEATURES, &offer.features));
	assert_ok(fe, fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES, &offer.protocol_features));
	fe_destroy(fe);
	return offer;
}

static void item_11(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(buses); i++) {
		struct server server;
		struct offer first, again;
		struct fe *fe;
		uint64_t running;

		server_start(&server, buses[i]);
		first = read_offer(&server);
		fe = server_open(&server);
		assert_ok(fe, fe_get_u64(fe, FE_GET_FEATURES, &running));
		assert_true(running == first.features);
		assert_ok(fe, fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES, &running));
		assert_true(running == first.protocol_features);
		server_close(fe);
		again = read_offer(&server);
		assert_memory_equal(&again, &first, sizeof(first));
		server_stop(&server);
		server_start(&server, buses[i]);
		again = read_offer(&server);
		assert_memory_equal(&again, &first, sizeof(first));
		server_stop(&server);
	}
}

static void check_features_closed(struct server *server, uint32_t id, uint64_t word)
{
	struct fe *fe = server_connect(server);

	assert_closed(fe, id, &word, sizeof(word), -1);
	fe_destroy(fe);
}

static void item_12(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(buses); i++) {
		struct server server;
		struct offer offer;
		uint64_t scsi_free = FE_SCSI_F_CHANGE | FE_F_VERSION_1 | FE_F_ANY_LAYOUT;

		server_start(&server, buses[i]);
		offer = read_offer(&server);
		for (unsigned bit = 0; bit < 64; bit++) {
			uint64_t tolerated = buses[i] == FE_BUS_SCSI ? scsi_free : 0;

			if (!((offer.features | tolerated) >> bit & 1) && bit % 7 == 3)
				check_features_closed(&server, FE_SET_FEATURES, FE_BIT(bit));
			if (!(offer.protocol_features >> bit & 1) && bit % 7 == 3)
				check_features_closed(
					&server, FE_SET_PROTOCOL_FEATURES, FE_BIT(bit));
		}
		assert_true(offer.features & FE_F_PACKED);
		check_features_closed(
			&server, FE_SET_FEATURES, offer.features | FE_F_ACCESS_PLATFORM);
		check_features_closed(&server, FE_SET_PROTOCOL_FEATURES, FE_PF_INBAND);
		if (buses[i] == FE_BUS_SCSI) {
			struct fe_options options = server_options(&server);
			struct fe *fe;

			check_features_closed(&server, FE_SET_FEATURES, FE_SCSI_F_T10_PI);
			options.force_features = scsi_free;
			fe = server_open_with(&server, &options);
			check_io(fe, 2, 3);
			server_close(fe);
		}
		server_stop(&server);
	}
}

static void item_14(void **state)
{
	struct server server;
	struct offer blk, scsi;

	server_start(&server, FE_BUS_BLK);
	blk = read_offer(&server);
	server_stop(&server);
	server_start(&server, FE_BUS_SCSI);
	scsi = read_offer(&server);
	server_stop(&server);
	assert_false((blk.protocol_features | scsi.protocol_features) &
		     (FE_PF_INBAND | FE_PF_XEN_MMAP | FE_PF_STATUS));
	assert_true(blk.protocol_features & FE_PF_CONFIG);
	assert_false(scsi.protocol_features & FE_PF_CONFIG);
	assert_false(
		(blk.features | scsi.features) &
		(FE_F_NOTIFY_ON_EMPTY | FE_F_IN_ORDER | FE_F_RING_RESET | FE_F_ACCESS_PLATFORM));
}

static void item_15(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(buses); i++) {
		struct server server;
		struct fe_options options;
		struct fe *fe;

		server_start(&server, buses[i]);
		options = server_options(&server);
		options.features &= ~FE_F_PROTOCOL_FEATURES;
		options.order = FE_QEMU_7_2;
		fe = server_open_with(&server, &options);
		assert_false(fe->enabled[0]);
		check_io(fe, buses[i] == FE_BUS_SCSI ? 2 : 0, 5);
		server_close(fe);
		server_stop(&server);
	}
}

static void item_16(void **state)
{
	struct server server;
	struct fe *fe;
	uint64_t word;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	check_io(fe, 0, 5);
	word = fe->features;
	assert_int_equal(ask(fe, FE_SET_FEATURES, &word, 8, -1), 0);
	check_io(fe, 0, 5);
	word = fe->features ^ FE_F_EVENT_IDX;
	assert_int_not_equal(ask(fe, FE_SET_FEATURES, &word, 8, -1), 0);
	word = fe->features ^ FE_BLK_F_FLUSH;
	assert_int_not_equal(ask(fe, FE_SET_FEATURES, &word, 8, -1), 0);
	/* Enable bits and indices are as they were. */
	check_io(fe, 0, 5);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[0], 30);
	/* Stopped, everything may change. */
	word = fe->features ^ FE_BLK_F_FLUSH;
	assert_int_equal(ask(fe, FE_SET_FEATURES, &word, 8, -1), 0);
	/* Without NEED_REPLY the only refusal is to close. */
	assert_ok(fe, fe_start(fe));
	word = fe->features ^ FE_F_EVENT_IDX;
	assert_closed(fe, FE_SET_FEATURES, &word, 8, -1);
	fe_destroy(fe);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.11 features are constant over sessions and restarts", item_11, NULL, NULL,
			NULL},
		{"24.12 bits that are not offered are refused, scsi tolerates what QEMU sets",
			item_12, NULL, NULL, NULL},
		{"24.14 INBAND_NOTIFICATIONS and XEN_MMAP are never offered, CONFIG for blk alone",
			item_14, NULL, NULL, NULL},
		{"24.15 without bit 30 rings run without SET_VRING_ENABLE", item_15, NULL, NULL,
			NULL},
		{"24.16 SET_FEATURES on running rings changes nothing", item_16, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
