/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice nvme bind and unbind: a drive goes from the kernel's driver to vfio-pci and back.
 *
 *	bind	driver_override says vfio-pci; the driver that has it lets go; the bus looks again.
 *		When it does not come to vfio-pci, all of this is taken back.
 *	unbind	the override is lifted; vfio-pci lets go; the bus looks again, and finds the driver
 *		that the kernel has for it
 *
 * A drive that is in use is not taken from whoever uses it: the kernel would, with all that is
 * written to it lost; and vfio-pci would wait in the kernel until its user is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli_impl.h"
#include "cli/nvme_impl.h"

#define VFIO "vfio-pci"

/* ---- what can be said before --------------------------------------------------------------- */

/* False after a sentence. */
static bool function_find(const char *word, struct nvme_function *ret_function)
{
	char address[PCI_ADDRESS_SIZE];
	bool is_nvme;

	if (pci_address_parse(word, address)) {
		cli_error("'%s' is no PCI address: they are like 0000:01:00.0, and sluice nvme "
			  "list has those of drives",
			word);
		return false;
	}
	if (!nvme_function_read(address, ret_function, &is_nvme)) {
		cli_error("there is no PCI function %s: sluice nvme list has the drives there are",
			address);
		return false;
	}
	if (!is_nvme)
		cli_error("%s is no NVMe drive: sluice nvme list has those there are", address);
	return is_nvme;
}

static bool function_check_bindable(const struct nvme_function *function)
{
	char user[NVME_TEXT];

	nvme_function_find_user(function, user);
	if (!function->group[0])
		cli_error("no IOMMU is in front of %s: switch it on in the firmware (VT-d, "
			  "AMD-Vi) and, on Intel machines, with intel_iommu=on for the kernel",
			function->address);
	else if (!pci_has_driver(VFIO))
		cli_error("the kernel's driver " VFIO " is not there: modprobe " VFIO);
	else if (user[0])
		cli_error("%s is in use, by way of %s: unmount it first", function->address, user);
	else
		return true;
	return false;
}

/* vfio has it open for some process. */
static bool function_is_held(const struct nvme_function *function)
{
	char path[sizeof("/dev/vfio/") + NVME_TEXT];

	snprintf(path, sizeof(path), "/dev/vfio/%s", function->group);
	CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 && errno == EBUSY;
}

/* ---- steps --------------------------------------------------------------------------------- */

static bool step(const struct nvme_function *function, int rc)
{
	if (rc == -EACCES || rc == -EPERM)
		cli_error("%s cannot be moved to another driver: that is for root",
			function->address);
	else if (rc)
		cli_error("%s cannot be moved to another driver: %s", function->address,
			strerror(-rc));
	return rc == 0;
}

static void function_look_again(struct nvme_function *function)
{
	char address[PCI_ADDRESS_SIZE];
	bool is_nvme;

	memcpy(address, function->address, sizeof(address));
	nvme_function_read(address, function, &is_nvme);
}

/* The bus gives it to the driver that the override names, or that the kernel has for it. */
static bool function_move(struct nvme_function *function, const char *override)
{
	if (!step(function, nvme_function_write(function, "driver_override", override)))
		return false;
	if (function->driver[0] &&
		!step(function, nvme_function_write(function, "driver/unbind", function->address)))
		return false;
	/* Whether a driver takes it is seen by looking, not by what the bus says. */
	pci_bus_probe(function->address);
	function_look_again(function);
	return true;
}

static int bound(const struct nvme_function *function)
{
	printf("%s is bound to " VFIO "; the daemon needs /dev/vfio/%s, and memlock for what it "
	       "maps\n",
		function->address, function->group);
	return CLI_OK;
}

int nvme_bind(const char *word)
{
	struct nvme_function function;

	if (!function_find(word, &function))
		return CLI_FAILED;
	if (strcmp(function.driver, VFIO) == 0)
		return bound(&function);
	if (!function_check_bindable(&function) || !function_move(&function, VFIO))
		return CLI_FAILED;
	if (strcmp(function.driver, VFIO) == 0)
		return bound(&function);
	function_move(&function, "\n");
	cli_error(VFIO " does not take %s; it has driver '%s' again: see the kernel's log",
		function.address, function.driver[0] ? function.driver : "none");
	return CLI_FAILED;
}

int nvme_unbind(const char *word)
{
	struct nvme_function function;

	if (!function_find(word, &function))
		return CLI_FAILED;
	if (strcmp(function.driver, VFIO) == 0 && function_is_held(&function)) {
		cli_error("a process has %s: detach it there first (sluice rpc "
			  "bdev_nvme_detach_controller '{\"name\":...}')",
			function.address);
		return CLI_FAILED;
	}
	if (strcmp(function.driver, VFIO) == 0 || !function.driver[0]) {
		if (!function_move(&function, "\n"))
			return CLI_FAILED;
	}
	if (!function.driver[0]) {
		cli_error("the kernel has no driver for %s: modprobe nvme", function.address);
		return CLI_FAILED;
	}
	printf("%s has the kernel's driver %s\n", function.address, function.driver);
	return CLI_OK;
}
