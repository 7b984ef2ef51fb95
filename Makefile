# SPDX-License-Identifier: BSD-2-Clause
#
# A thin front of meson. Each target stands alone: it installs what it needs (tools/deps asks
# first), configures, builds, runs.

BUILD ?= build
BUS ?= scsi
PYTHON := /usr/bin/python3

.PHONY: all demo test bench soak tidy format install deb clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) sluice

$(BUILD)/build.ninja: meson.build
	@tools/deps build
	@test -f $@ || meson setup $(BUILD) $(MESONFLAGS)

# A guest boots from a disk that Sluice serves: make demo, make demo BUS=blk
demo:
	@tools/deps build demo
	@$(MAKE) --no-print-directory all
	@BUS=$(BUS) tools/demo

# Everything that must hold; ends with N passed, N failed, N skipped
test:
	@tools/deps build test
	@tools/test

# Sluice against what else is installed: make bench, make bench QUICK=1. A page to look at is made
# in build-bench; what earlier runs measured is kept in the user's state directory.
bench:
	@tools/deps build bench
	@test -f build-bench/build.ninja || meson setup build-bench --buildtype=release
	@ninja -C build-bench sluice tests/bench/vhost-bench tests/bench/cache-lines
	@QUICK=$(QUICK) SLUICE_BUILD=build-bench tests/bench/bench

# What takes too long for every change
soak:
	@tools/deps build test
	@tools/test --soak

tidy:
	@tools/tidy --headers --sizes

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: all
	@ninja -C $(BUILD) data/sluice.1
	@meson install -C $(BUILD) --no-rebuild

# A package for this Debian: sluice_VERSION_ARCHITECTURE.deb
deb: all
	@tools/deps build deb
	@ninja -C $(BUILD) data/sluice.1
	@tools/deb $(BUILD) .

clean:
	@rm -rf build build-*
