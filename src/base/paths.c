/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int paths_join(const char *directory, const char *below, const char *name, char *buf,
	size_t size, struct reason *reason)
{
	int len = snprintf(buf, size, "%s%s%s%s", directory, below, name[0] ? "/" : "", name);

	if (len < 0 || (size_t)len >= size)
		return reason_set(
			reason, -ENAMETOOLONG, "the path below %s is too long", directory);
	return 0;
}

/* An absolute path in the environment, else NULL (the XDG specification ignores relative ones). */
static const char *environment_path(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

int paths_state(const char *name, char *buf, size_t size, struct reason *reason)
{
	const char *directory;

	if (geteuid() == 0)
		return paths_join("/var/lib/sluice", "", name, buf, size, reason);
	directory = environment_path("XDG_STATE_HOME");
	if (directory)
		return paths_join(directory, "/sluice", name, buf, size, reason);
	directory = environment_path("HOME");
	if (directory)
		return paths_join(directory, "/.local/state/sluice", name, buf, size, reason);
	return reason_set(reason, -ENOENT,
		"neither XDG_STATE_HOME nor HOME says where to keep state: use --state-dir");
}

int paths_run(const char *name, char *buf, size_t size, struct reason *reason)
{
	const char *directory;
	char state[PATHS_MAX];
	int rc;

	if (geteuid() == 0)
		return paths_join("/run/sluice", "", name, buf, size, reason);
	directory = environment_path("XDG_RUNTIME_DIR");
	if (directory)
		return paths_join(directory, "/sluice", name, buf, size, reason);
	rc = paths_state("run", state, sizeof(state), NULL);
	if (rc)
		return reason_set(reason, rc,
			"neither XDG_RUNTIME_DIR nor HOME says where sockets go: use --rpc-socket "
			"and "
			"--vhost-dir");
	return paths_join(state, "", name, buf, size, reason);
}
