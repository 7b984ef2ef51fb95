# SPDX-License-Identifier: BSD-2-Clause
"""Operations, each with what is there before it; and their images, cut after any request.

A Stage prepares an image and knows what its volumes contain before and after the operation. All
lives in a folder of the caller's.
"""
from .disk import Disk, PowerCut
from .image import Image
from .shadow import Shadow


def thin_with_snapshot(shadow):
    shadow.create("vol", 6, thin=True)
    shadow.write("vol", 1, "a")
    shadow.write("vol", 2, "b")
    shadow.snapshot("vol", "snap")


def both_have_pages(shadow):
    thin_with_snapshot(shadow)
    shadow.write("vol", 2, "c", 4096)


def with_grandparent(shadow):
    both_have_pages(shadow)
    shadow.snapshot("vol", "second")
    shadow.write("vol", 4, "d")


def thick(shadow):
    shadow.create("vol", 5)
    shadow.write("vol", 3, "a")


def thin(shadow):
    shadow.create("vol", 516, thin=True)
    shadow.write("vol", 515, "a")


def runs(shadow):
    shadow.create("vol", 9, thin=True, style="runs")
    shadow.write("vol", 4, "a")


def external(shadow):
    shadow.external_clone("vol", 3)
    shadow.write("vol", 1, "a")


def long_chain(shadow):
    thick(shadow)
    for name in "abc":
        shadow.writer.set_xattr("vol", name, name.encode() * 3500)


CASES = {
    "create thin": (thin, lambda shadow: shadow.create("new", 3, thin=True)),
    "create thick": (thin, lambda shadow: shadow.create("new", 3)),
    "first write": (thin, lambda shadow: shadow.write("vol", 3, "b")),
    "write into a known slot": (thin, lambda shadow: shadow.write("vol", 514, "b")),
    "write into a run list": (runs, lambda shadow: shadow.write("vol", 5, "b")),
    "copy on write": (thin_with_snapshot, lambda shadow: shadow.write("vol", 1, "z", 8192)),
    "copy from outside": (external, lambda shadow: shadow.write("vol", 2, "z", 4096)),
    "unmap": (thin, lambda shadow: shadow.unmap("vol", 515)),
    "snapshot of thin": (thin, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of thick": (thick, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of a clone": (both_have_pages, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of an external clone": (external, lambda shadow: shadow.snapshot("vol", "new")),
    "snapshot of runs": (runs, lambda shadow: shadow.snapshot("vol", "new")),
    "clone": (thin_with_snapshot, lambda shadow: shadow.clone("new", "snap")),
    "grow": (thick, lambda shadow: shadow.resize("vol", 8)),
    "shrink": (thick, lambda shadow: shadow.resize("vol", 4)),
    "rename": (thin_with_snapshot, lambda shadow: shadow.rename("snap", "other")),
    "delete": (thin, lambda shadow: shadow.delete("vol")),
    "delete a clone": (both_have_pages, lambda shadow: shadow.delete("vol")),
    "delete a snapshot": (thin_with_snapshot, lambda shadow: shadow.delete("snap")),
    "delete a snapshot that shares a slot": (both_have_pages, lambda shadow: shadow.delete("snap")),
    "delete a snapshot in between": (with_grandparent, lambda shadow: shadow.delete("second")),
    "delete an external clone's snapshot": (
        lambda shadow: (external(shadow), shadow.snapshot("vol", "snap")),
        lambda shadow: shadow.delete("snap")),
    "inflate": (both_have_pages, lambda shadow: shadow.inflate("vol")),
    "inflate from outside": (external, lambda shadow: shadow.inflate("vol")),
    "decouple": (with_grandparent, lambda shadow: shadow.decouple("vol")),
    "long xattrs": (thick, lambda shadow: [shadow.writer.set_xattr("vol", name, b"x" * 3500)
                                           for name in "ab"]),
    "delete a long chain": (long_chain, lambda shadow: shadow.delete("vol")),
    "unload": (with_grandparent, lambda shadow: shadow.writer.unload()),
    "rename the store": (thin, lambda shadow: shadow.writer.rename_store("other")),
}


class Stage:
    """An image before an operation, to be cut in copies of it."""

    def __init__(self, folder, prepare, act, size=2 << 20):
        self.folder, self.act = folder, act
        shadow = Shadow(folder / "before", size=size)
        prepare(shadow)
        shadow.reload()
        shadow.disk.close()
        self.before = dict(shadow.volumes)
        self.shadow = shadow
        self.after, self.requests = self._run("after", None)

    def copy(self, source, name):
        with Image(self.folder / source) as image, open(self.folder / name, "wb") as file:
            file.truncate(image.size)
            for start, end in image.data_ranges(0, image.size):
                file.seek(start)
                file.write(image.read(start, end - start))
        return self.folder / name

    def _run(self, name, die_after):
        shadow = self.shadow
        shadow.path = self.copy("before", name)
        shadow.volumes = dict(self.before)
        with Disk(shadow.path) as shadow.disk:
            shadow.load()
            start = len(shadow.disk.log)
            shadow.disk.die_after = die_after
            try:
                self.act(shadow)
            except PowerCut:
                pass
            return shadow.volumes, len(shadow.disk.log) - start

    def cut(self, requests):
        self._run("cut", requests)
        return self.folder / "cut"
