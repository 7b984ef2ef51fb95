/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int reason_set(struct reason *reason, int rc, const char *fmt, ...)
{
	va_list args;

	if (!reason || reason->text[0] != '\0')
		return rc;
	va_start(args, fmt);
	vsnprintf(reason->text, sizeof(reason->text), fmt, args);
	va_end(args);
	return rc;
}

const char *reason_text(const struct reason *reason, int rc)
{
	if (reason && reason->text[0] != '\0')
		return reason->text;
	return strerror(-rc);
}
