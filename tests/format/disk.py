# SPDX-License-Identifier: BSD-2-Clause
"""The device under the writer: an image file, a log of what was done to it, and a power switch.

Operations are generators of steps. A step is one Write, Zero or Unmap, or a list of such that go to
the device in parallel; the next step comes when all of the last is done. `order` decides how a list
is sorted, `die_after` how many requests are carried out before PowerCut.
"""
import dataclasses
import functools
import os

from .image import Image


class PowerCut(Exception):
    """The device is gone; what was written so far stays."""


@dataclasses.dataclass
class Write:
    offset: int
    data: bytes

    @property
    def length(self):
        return len(self.data)


@dataclasses.dataclass
class Zero:
    offset: int
    length: int


@dataclasses.dataclass
class Unmap(Zero):
    pass


class Disk:
    def __init__(self, path, size=None, *, block_size=4096, physical_size=None, unmaps=True):
        exists = os.path.exists(path)
        self.file = open(path, "r+b" if exists else "w+b", buffering=0)
        if size is not None:
            self.file.truncate(size)
        self.block_size = block_size
        self.physical_size = physical_size or block_size
        self.unmaps = unmaps           # otherwise an unmap succeeds and changes nothing
        self.log = []
        self.die_after = None
        self.order = lambda requests: requests

    @property
    def size(self):
        return os.fstat(self.file.fileno()).st_size

    def image(self):
        return Image(self.file)

    def close(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self, offset, length):
        return self.image().read(offset, length)

    def run(self, steps):
        """Carry out all steps of an operation; its result."""
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            for request in self.order(step) if isinstance(step, list) else [step]:
                self.apply(request)

    def apply(self, request):
        if self.die_after is not None:
            if self.die_after == 0:
                raise PowerCut()
            self.die_after -= 1
        assert request.offset % self.block_size == 0 and request.length % self.block_size == 0
        assert request.offset + request.length <= self.size
        self.log.append((type(request).__name__.lower(), request.offset, request.length))
        if isinstance(request, Write):
            self._write(request.offset, request.data)
            return
        if isinstance(request, Unmap) and not self.unmaps:
            return
        for start, end in self.image().data_ranges(request.offset, request.offset + request.length):
            for at in range(start, end, 1 << 20):
                self._write(at, bytes(min(1 << 20, end - at)))

    def _write(self, offset, data):
        done = os.pwrite(self.file.fileno(), data, offset)
        assert done == len(data)


def operation(steps):
    """A method that is a generator of steps becomes one that carries them out on self.disk; the
    generator itself stays reachable as METHOD.steps(self, ...)."""
    @functools.wraps(steps)
    def run(self, *args, **kwargs):
        return self.disk.run(steps(self, *args, **kwargs))
    run.steps = steps
    return run
