# SPDX-License-Identifier: BSD-2-Clause
"""Editing sound images: one fault at a time, by whoever knows where things are.

An Editor opens the image for each change, so that the image on disk is always the whole truth.
FAULTS collects, from the faults_*.py beside this, the kind of finding that each fault has to lead
to, and how the finding counts: ERROR in either mode, KNOWN as a note and in strict mode as an
error, NOTE as a note.
"""
import dataclasses

from . import structures as s
from .blob import ERROR
from .image import Image
from .reader import Store
from .shadow import Shadow
from .writer_blob import WriterBlob

FAULTS = []


def fault(kind, level=ERROR):
    def register(function):
        FAULTS.append((kind, level, function))
        return function
    return register


def make_sound(path):
    """What the faults are planted in: a volume of each kind, unloaded."""
    shadow = Shadow(path)
    shadow.create("vol", 600, thin=True)
    shadow.write("vol", 2, "a")
    shadow.write("vol", 3, "a")
    shadow.write("vol", 599, "b")
    shadow.snapshot("vol", "snap")
    shadow.write("vol", 2, "c")
    shadow.create("thick", 4)
    shadow.create("runs", 8, thin=True, style="runs")
    shadow.write("runs", 3, "d")
    shadow.write("runs", 4, "e")
    shadow.external_clone("outside", 3)
    shadow.writer.unload()
    shadow.disk.close()


class Editor:
    def __init__(self, path):
        self.path = path
        with Store(path) as store:
            self.blobs = {blob.label: blob for blob in store.blobs.values()}
            self.layout = store.layout

    def __getitem__(self, name):
        return self.blobs[name]

    def read(self, offset, length):
        with Image(self.path) as image:
            return image.read(offset, length)

    def write(self, offset, data):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def page(self, index):
        return s.Page.decode(self.read(self.layout.md_offset(index), 4096))

    def put(self, index, page):
        self.write(self.layout.md_offset(index), page.encode())

    def change(self, index, **fields):
        self.put(index, dataclasses.replace(self.page(index), **fields))

    def descriptors(self, index, edit):
        """Let edit change the list of descriptors of a page."""
        page = self.page(index)
        found = page.descriptors()
        edit(found)
        page.area = b"".join(descriptor.encode() for descriptor in found)
        self.put(index, page)

    def blob(self, name, edit):
        """Let edit change a blob as a writer has it, and write its root again."""
        blob = WriterBlob.from_disk(self.blobs[name])
        edit(blob)
        areas = blob.areas()
        assert len(areas) == 1
        self.put(blob.chain[0], s.Page(blob.id, 0, bytes(areas[0])))

    def super(self, **fields):
        block = s.SuperBlock.decode(self.read(0, 4096))
        names = {field.name for field in dataclasses.fields(block.layout)}
        layout = {name: fields.pop(name) for name in list(fields) if name in names}
        block.layout = dataclasses.replace(block.layout, **layout)
        self.write(0, dataclasses.replace(block, **fields).encode())

    def mask(self, kind, edit):
        start = (self.layout.page_mask_start, self.layout.cluster_mask_start,
                 self.layout.blobid_mask_start)[kind] * self.layout.page_size
        mask = s.Mask.decode(self.read(start, self.layout.page_size))
        edit(mask)
        self.write(start, mask.encode(self.layout.page_size))

    def extents(self, name, slot, edit):
        """Let edit change the entries of an extent page."""
        index = self[name].pages[slot]
        page = self.page(index)
        start, entries = s.decode_extents(page.descriptors()[0].body)
        edit(entries)
        page.area = s.encode_extents(start, entries)
        self.put(index, page)

    def unclean(self):
        self.super(clean=0)
