# SPDX-License-Identifier: BSD-2-Clause
"""Guests for the system tests and the demo: kernel, images and a newer QEMU.

Everything comes from Debian packages; nothing is installed, mounted or run as root. See build.py.
"""
