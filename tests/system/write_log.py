# SPDX-License-Identifier: BSD-2-Clause
"""What logged-writer wrote down, and what a copy of its disk may hold that was made at some moment.

The moment lies between two marks of the log. What had been acknowledged at the first must be in the
copy, what was issued after the second must not, and what came in between may be: but as of one
moment, so that whatever had been acknowledged before a write was issued is there when that is.
"""
import array
import bisect
import struct
import sys

BLOCK = 4096
ISSUED, ACKNOWLEDGED, MARK = 1, 2, 3
STAMP = struct.Struct("<QQQQ")
MAGIC = 0x656369756c732e77


class WriteLog:
    """Writes are numbers from 1 on, moments are places in the log."""

    def __init__(self, data):
        words = array.array("Q", data)
        if sys.byteorder == "big":
            words.byteswap()
        self.issued = {}            # write: block, place
        self.acknowledged = {}      # block: places, writes
        self.marks = []
        for place, word in enumerate(words):
            kind, block, write = word >> 56, word >> 32 & 0xffffff, word & 0xffffffff
            if kind == 0:
                break               # the disk that it came on is larger
            if kind == ISSUED:
                self.issued[write] = (block, place)
            elif kind == ACKNOWLEDGED:
                places, writes = self.acknowledged.setdefault(block, ([], []))
                places.append(place)
                writes.append(write)
            else:
                self.marks.append(place)

    def last_acknowledged(self, block, moment):
        """The write of a block that was acknowledged last before a moment; 0: none."""
        places, writes = self.acknowledged.get(block, ((), ()))
        found = bisect.bisect_left(places, moment)
        return writes[found - 1] if found else 0

    def read_block(self, data, block):
        """Which write left that behind; 0: none. Anything else is no write of this log."""
        magic, where, write, check = STAMP.unpack_from(data)
        if not any(data):
            return 0
        assert data == data[:STAMP.size] * (BLOCK // STAMP.size), f"block {block} is torn"
        assert magic == MAGIC and check == write ^ (1 << 64) - 1, f"block {block} holds rubbish"
        assert where == block, f"block {block} holds what belongs to {where}"
        assert self.issued[write][0] == block
        return write

    def check(self, contents, before, after):
        """Against the marks of these numbers. The last moment at which it can have been made."""
        found = [self.read_block(contents[at:at + BLOCK], at // BLOCK)
                 for at in range(0, len(contents), BLOCK)]
        newest = max(found, default=0)      # they are issued in the order of their numbers
        moment = self.marks[before]
        if newest:
            place = self.issued[newest][1]
            assert place < self.marks[after], \
                f"write {newest} is there, which was issued after the copy had been made"
            moment = max(moment, place)
        for block, write in enumerate(found):
            wanted = self.last_acknowledged(block, moment)
            assert write >= wanted, (
                f"block {block} has write {write}, though {wanted} had been acknowledged "
                + ("before" if self.last_acknowledged(block, self.marks[before]) > write else
                   f"before write {newest} was issued, which is there"))
        return moment
