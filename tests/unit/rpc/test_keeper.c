/* SPDX-License-Identifier: BSD-2-Clause */
/* What changes the configuration is admitted before it runs and kept before it is answered; and
 * methods that the daemon calls itself. */
#include <errno.h>
#include <string.h>

#include "rpc_world.h"

#define TRUE_OF(id)       "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":true}\n"
#define CHANGE(id)        "{\"method\":\"change\",\"id\":" id "}"
#define ASK(id)           "{\"method\":\"none\",\"id\":" id "}"
#define REFUSED(id, code) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code ","

static struct {
	int admits; /* 0 or -errno */
	unsigned asked;
	unsigned ran;
	done_fn done; /* of the change being kept */
	void *done_arg;
	struct reason *reason;
} keeping;

static int admit(void *arg, struct reason *reason)
{
	keeping.asked++;
	return keeping.admits ? reason_set(reason, keeping.admits, "make room") : 0;
}

static void keep(void *arg, struct reason *reason, done_fn done, void *done_arg)
{
	keeping.done = done;
	keeping.done_arg = done_arg;
	keeping.reason = reason;
}

static const struct rpc_keeper keeper = {.admit = admit, .keep = keep};

static void change(struct rpc_request *request, const void *params, void *context)
{
	keeping.ran++;
	rpc_request_finish(request, NULL);
}

static void change_in_vain(struct rpc_request *request, const void *params, void *context)
{
	rpc_request_fail(request, -ENODEV, NULL);
}

static const struct rpc_method changing[] = {
	{"change", RPC_ANY_STATE, change, .changes_configuration = true},
	{"change_in_vain", RPC_ANY_STATE, change_in_vain, .changes_configuration = true},
	{0},
};

static void prepare(struct world *world, void *arg)
{
	assert_int_equal(rpc_server_register(world->server, changing, world), 0);
	rpc_server_set_keeper(world->server, &keeper);
}

static void start(struct world *world, struct client *client)
{
	memset(&keeping, 0, sizeof(keeping));
	world_start(world, 1);
	world_call(world, prepare, NULL);
	client_open(world, client);
}

static void end(struct world *world, struct client *client)
{
	client_close(client);
	world_end(world);
}

static void finish_keeping(struct world *world, void *arg)
{
	int rc = *(const int *)arg;

	if (rc)
		reason_set(keeping.reason, rc, "the disk is broken");
	keeping.done(keeping.done_arg, rc);
}

static void kept(struct world *world, int rc)
{
	world_call(world, finish_keeping, &rc);
}

static void a_change_is_answered_when_it_is_kept(void **state)
{
	struct world world;
	struct client client;

	start(&world, &client);
	client_say(&client, CHANGE("1"));
	assert_true(client_hears_nothing(&client));
	assert_int_equal(keeping.ran, 1);
	client_say(&client, ASK("2")); /* others need not wait */
	assert_string_equal(client_lines(&client, 1), TRUE_OF("2"));
	kept(&world, 0);
	assert_string_equal(client_lines(&client, 1), TRUE_OF("1"));
	end(&world, &client);
}

static void a_change_that_cannot_be_kept_is_told(void **state)
{
	struct world world;
	struct client client;

	start(&world, &client);
	client_say(&client, CHANGE("1"));
	assert_true(client_hears_nothing(&client));
	kept(&world, -EIO);
	assert_non_null(strstr(client_lines(&client, 1), REFUSED("1", "-5")));
	end(&world, &client);
}

static void a_change_that_is_not_admitted_does_not_happen(void **state)
{
	struct world world;
	struct client client;

	start(&world, &client);
	keeping.admits = -ENOSPC;
	client_say(&client, "{\"method\":\"explain\",\"params\":{\"enabled\":true},\"id\":1}");
	client_lines(&client, 1);
	client_say(&client, CHANGE("2"));
	assert_string_equal(client_lines(&client, 1),
		REFUSED("2", "-28") "\"message\":\"No space left on device\",\"data\":{\"reason\":"
				    "\"make room\"}}}\n");
	assert_int_equal(keeping.ran, 0);
	assert_int_equal(keeping.asked, 1);
	client_say(&client, ASK("3"));
	assert_string_equal(client_lines(&client, 1), TRUE_OF("3"));
	end(&world, &client);
}

static void what_failed_is_not_kept(void **state)
{
	struct world world;
	struct client client;

	start(&world, &client);
	client_say(&client, "{\"method\":\"change_in_vain\",\"id\":1}");
	assert_non_null(strstr(client_lines(&client, 1), REFUSED("1", "-19")));
	assert_null(keeping.done);
	end(&world, &client);
}

static void a_client_that_has_gone_holds_up_no_keeping(void **state)
{
	struct world world;
	struct client client, other;

	start(&world, &client);
	client_open(&world, &other);
	client_say(&client, CHANGE("1"));
	assert_true(client_hears_nothing(&client));
	client_close(&client);
	world_sleep(&world, 20 * MSEC_NS);
	kept(&world, 0);
	client_say(&other, ASK("2"));
	assert_string_equal(client_lines(&other, 1), TRUE_OF("2"));
	end(&world, &other);
}

/* ---- the daemon's own ---------------------------------------------------------------------- */

struct own_call {
	struct rpc_call call;
	_Atomic bool done;
	int rc;
};

static void own_done(void *arg, int rc)
{
	struct own_call *own = arg;

	own->rc = rc;
	own->done = true;
}

static void own_start(struct world *world, void *arg)
{
	struct own_call *own = arg;

	rpc_server_call(world->server, &own->call, own_done, own);
	assert_false(own->done);
}

static int own(struct world *world, struct own_call *own, const char *method, json_t *params)
{
	memset(own, 0, sizeof(*own));
	own->call.method = method;
	own->call.params = params;
	world_call(world, own_start, own);
	while (!own->done)
		world_sleep(world, MSEC_NS);
	json_decref(params);
	return own->rc;
}

static void the_daemon_gets_results_and_errors_as_clients_do(void **state)
{
	struct world world;
	struct client client;
	struct own_call op;

	start(&world, &client);
	assert_int_equal(own(&world, &op, "echo", json_pack("{s:s}", "text", "mine")), 0);
	assert_string_equal(json_string_value(json_object_get(op.call.result, "text")), "mine");
	json_decref(op.call.result);
	assert_int_equal(own(&world, &op, "delay", json_pack("{s:i}", "x", 3)), 0);
	json_decref(op.call.result);
	assert_int_equal(own(&world, &op, "fail", json_pack("{s:i}", "rc", -17)), -EREMOTEIO);
	assert_int_equal(op.call.code, -17);
	assert_string_equal(op.call.text, "File exists");
	assert_non_null(strstr(op.call.reason.text, "do \"this\""));
	assert_int_equal(own(&world, &op, "need", NULL), -EREMOTEIO);
	assert_string_equal(op.call.text, "Needs x");
	assert_int_equal(own(&world, &op, "missing", NULL), -EREMOTEIO);
	assert_int_equal(op.call.code, RPC_METHOD_NOT_FOUND);
	assert_int_equal(own(&world, &op, "early", NULL), -EREMOTEIO);
	assert_int_equal(op.call.code, -1);
	end(&world, &client);
}

static void allow_one(struct world *world, void *arg)
{
	assert_int_equal(rpc_server_allow(world->server, "none", NULL), 0);
}

static void the_daemon_needs_no_permission_and_keeps_nothing(void **state)
{
	struct world world;
	struct client client;
	struct own_call op;

	start(&world, &client);
	keeping.admits = -ENOSPC;
	world_call(&world, allow_one, NULL);
	client_say(&client, CHANGE("1"));
	assert_non_null(strstr(client_lines(&client, 1), REFUSED("1", "-32601")));
	assert_int_equal(own(&world, &op, "change", NULL), 0);
	json_decref(op.call.result);
	assert_int_equal(keeping.ran, 1);
	assert_int_equal(keeping.asked, 0);
	assert_int_equal(rpc_server_method_states(world.server, "early"), RPC_STARTUP);
	assert_int_equal(rpc_server_method_states(world.server, "nothing"), 0);
	end(&world, &client);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_is_answered_when_it_is_kept),
		cmocka_unit_test(a_change_that_cannot_be_kept_is_told),
		cmocka_unit_test(a_change_that_is_not_admitted_does_not_happen),
		cmocka_unit_test(what_failed_is_not_kept),
		cmocka_unit_test(a_client_that_has_gone_holds_up_no_keeping),
		cmocka_unit_test(the_daemon_gets_results_and_errors_as_clients_do),
		cmocka_unit_test(the_daemon_needs_no_permission_and_keeps_nothing),
	};

	world_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
