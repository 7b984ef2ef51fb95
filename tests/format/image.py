# SPDX-License-Identifier: BSD-2-Clause
"""An image, opened to be read only: what is a hole is not read.

A file system that cannot tell holes from data says that all is data, which is only slower.
"""
import errno
import io
import os

from .structures import FormatError


class Image:
    """Bytes of a path, or of a binary file object that stays its owner's."""

    def __init__(self, source):
        self.own = isinstance(source, (str, os.PathLike))
        self.file = open(source, "rb", buffering=0) if self.own else source
        self.size = self.file.seek(0, os.SEEK_END)
        try:
            self.descriptor = self.file.fileno()
        except (AttributeError, io.UnsupportedOperation):
            self.descriptor = None

    def close(self):
        if self.own:
            self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self, offset, length):
        if offset < 0 or offset + length > self.size:
            raise FormatError("image-short", f"the image ends at {self.size}, before "
                              f"{offset} + {length}")
        self.file.seek(offset)
        parts = []
        while length:
            part = self.file.read(length)
            if not part:
                raise FormatError("image-short", "the image ends before its size")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def data_ranges(self, start, end):
        """Pieces of [start, end) that may hold something else than zeros."""
        end = min(end, self.size)
        while start < end:
            found = self._seek(start, os.SEEK_DATA)
            if found is None or found >= end:
                return
            hole = self._seek(found, os.SEEK_HOLE)
            stop = end if hole is None else min(hole, end)
            yield found, stop
            start = stop

    def _seek(self, offset, whence):
        if self.descriptor is None:
            return offset if whence == os.SEEK_DATA else None
        try:
            return os.lseek(self.descriptor, offset, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            return offset if whence == os.SEEK_DATA else None
