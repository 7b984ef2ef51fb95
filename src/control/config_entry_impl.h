/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that were configured and have not been made with success: those of a configuration that is
 * being applied, and those that could not be applied because what they need was missing.
 */
#ifndef CONTROL_CONFIG_ENTRY_IMPL_H
#define CONTROL_CONFIG_ENTRY_IMPL_H

#include "control/control_impl.h"

struct config_entry {
	struct list link; /* control->entries */
	char *subsystem;
	json_t *call; /* {"method", "params"} */
	unsigned pass; /* RPC_STARTUP or RPC_RUNTIME */
	char *error; /* why it failed when it was tried; NULL: it was not yet */
};

const char *config_entry_method(const struct config_entry *entry);
void config_entry_free(struct config_entry *entry);
void config_entries_clear(struct control *control);

/* Tries those of the pass; the failed ones again. done gets the code of the first that failed and
 * was not to be passed over. None is being applied already. */
void config_apply(
	struct control *control, unsigned pass, struct reason *reason, done_fn done, void *arg);

/* Frees those that are no longer missing: because the same, or something else of that name, has
 * been made since; or because what they belong to is neither there nor missing itself. */
void config_drop_superseded(struct control *control);

#endif
