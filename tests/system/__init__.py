# SPDX-License-Identifier: BSD-2-Clause
"""System tests: the daemon, driven as a user would, with real guests under real QEMUs."""
