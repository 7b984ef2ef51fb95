# SPDX-License-Identifier: BSD-2-Clause
"""`sluice io`: with nothing in flight."""

import json

from .test_command_line import shell  # noqa: F401 (a fixture)


def test_with_nothing_in_flight_it_says_so_and_refuses_what_it_does_not_know(shell):  # noqa: F811
    assert json.loads(shell.good("io", "--json")) == []
    assert shell.good("io", "--older-than", "5") == ""
    assert "takes no words" in shell.bad(2, "io", "vm1")
    assert "--older-than" in shell.bad(2, "io", "--older-than", "x")
