# SPDX-License-Identifier: BSD-2-Clause
"""What a copy may hold is told from what it must not."""
import struct

import pytest

from .write_log import ACKNOWLEDGED, BLOCK, ISSUED, MAGIC, MARK, STAMP, WriteLog


def log(*events):
    return WriteLog(b"".join(struct.pack("<Q", kind << 56 | block << 32 | write)
                             for kind, block, write in events))


def disk(*writes):
    return b"".join(STAMP.pack(MAGIC, block, write, write ^ (1 << 64) - 1) * (BLOCK // STAMP.size)
                    if write else bytes(BLOCK) for block, write in enumerate(writes))


# Write 1 is acknowledged before the copy; 2 and then 3 come while it is made; 4 after it.
STORY = log((ISSUED, 0, 1), (ACKNOWLEDGED, 0, 1), (MARK, 0, 0), (ISSUED, 1, 2),
            (ACKNOWLEDGED, 1, 2), (ISSUED, 0, 3), (MARK, 0, 0), (ACKNOWLEDGED, 0, 3),
            (ISSUED, 2, 4), (ACKNOWLEDGED, 2, 4))


@pytest.mark.parametrize("writes", [(1, 0, 0), (1, 2, 0), (3, 2, 0)])
def test_a_copy_of_any_moment_in_between_is_right(writes):
    STORY.check(disk(*writes), 0, 1)


@pytest.mark.parametrize("writes, complaint", [
    ((0, 0, 0), "block 0 has write 0, though 1 had been acknowledged before$"),
    ((0, 2, 0), "block 0 has write 0, though 1 had been acknowledged before$"),
    ((3, 0, 0), "block 1 has write 0, though 2 had been acknowledged before write 3 was issued"),
    ((1, 2, 4), "write 4 is there, which was issued after the copy"),
])
def test_a_copy_of_no_moment_is_noticed(writes, complaint):
    with pytest.raises(AssertionError, match=complaint):
        STORY.check(disk(*writes), 0, 1)


@pytest.mark.parametrize("contents, complaint", [
    (disk(1)[:BLOCK // 2] + disk(3)[BLOCK // 2:], "block 0 is torn"),
    (disk(0, 2)[BLOCK:], "block 0 holds what belongs to 1"),
    (b"x" * BLOCK, "block 0 holds rubbish"),
], ids=["torn", "elsewhere", "rubbish"])
def test_what_nobody_wrote_is_noticed(contents, complaint):
    with pytest.raises(AssertionError, match=complaint):
        STORY.check(contents, 0, 1)
