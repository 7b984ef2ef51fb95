# SPDX-License-Identifier: BSD-2-Clause
"""CRC-32C without C: two bytes a step, and long runs of zeros skipped by algebra.

Metadata pages are mostly zeros. The checksum is linear over GF(2), so a run of zeros is one matrix
for each bit of its length; the rest is looked up in a table of all 16-bit values.
"""
import functools
import struct

POLYNOMIAL = 0x82F63B78
MASK = 0xFFFFFFFF
WORTH_SKIPPING = bytes(96)


def _table8():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_BYTE = _table8()
_WORD = [(_BYTE[low] >> 8) ^ _BYTE[(_BYTE[low] ^ high) & 0xFF]
         for high in range(256) for low in range(256)]


def _times(matrix, vector):
    """A matrix is the list of the images of the 32 unit vectors."""
    result = 0
    for column in matrix:
        if vector & 1:
            result ^= column
        vector >>= 1
    return result


@functools.lru_cache(maxsize=None)
def _zeros_matrix(power):
    """What 2^power zero bytes do to the register."""
    if power == 0:
        return [(1 << bit >> 8) ^ _BYTE[(1 << bit) & 0xFF] for bit in range(32)]
    half = _zeros_matrix(power - 1)
    return [_times(half, column) for column in half]


def _append_zeros(register, count):
    power = 0
    while count:
        if count & 1:
            register = _times(_zeros_matrix(power), register)
        count >>= 1
        power += 1
    return register


def _append(register, data):
    table = _WORD
    for word in struct.unpack_from(f"<{len(data) // 2}H", data):
        register = (register >> 16) ^ table[(register ^ word) & 0xFFFF]
    if len(data) % 2:
        register = (register >> 8) ^ _BYTE[(register ^ data[-1]) & 0xFF]
    return register


def crc32c(data):
    """The checksum of bytes: reflected, initial value and final XOR all ones."""
    data, register = bytes(data), MASK
    while data:
        start = data.find(WORTH_SKIPPING)
        if start < 0:
            return _append(register, data) ^ MASK
        register = _append(register, data[:start])
        rest = data[start:].lstrip(b"\0")
        register = _append_zeros(register, len(data) - start - len(rest))
        data = rest
    return register ^ MASK
