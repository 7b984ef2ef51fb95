# SPDX-License-Identifier: BSD-2-Clause
"""A writer and, beside it, plain byte arrays that say what its volumes should contain.

`volumes` maps names to bytes; each operation changes both sides. Stores are small: clusters of four
pages, so that a volume of several extent pages stays below 20 MiB, most of it holes.
"""
from .disk import Disk
from .reader import Store
from .writer import Writer

CLUSTER = 16384
EXTERNAL = "0aa1f0cc-5a43-4a4b-a7a3-5d0a3c1e9c11"


def external_bytes(name, offset, length):
    """The external snapshot of all tests: every 512 bytes say where they are."""
    assert name == EXTERNAL.encode() + b"\0"
    first, last = offset // 512, -(-(offset + length) // 512)
    text = b"".join(b"%0512d" % number for number in range(first, last))
    return text[offset - 512 * first:][:length]


class Shadow:
    def __init__(self, path, size=8 << 20, **options):
        layout = {key: options.pop(key) for key in ("block_size", "physical_size")
                  if key in options}
        self.path = path
        self.disk = Disk(path, size, **layout)
        self.writer = Writer(self.disk, external_bytes)
        self.volumes = {}
        options.setdefault("cluster_size", CLUSTER)
        self.writer.create_store("store", **options)

    @property
    def cluster(self):
        return self.writer.layout.cluster_size

    def create(self, name, clusters, **options):
        self.writer.create_volume(name, clusters * self.cluster, **options)
        self.volumes[name] = bytes(clusters * self.cluster)

    def external_clone(self, name, clusters):
        self.writer.create_external_clone(name, EXTERNAL, clusters * self.cluster)
        self.volumes[name] = external_bytes(EXTERNAL.encode() + b"\0", 0, clusters * self.cluster)

    def write(self, name, index, text, inside=0):
        """A block of text somewhere in a cluster."""
        block = self.disk.block_size
        data = (text.encode() * block)[:block]
        offset = index * self.cluster + inside
        self.writer.write(name, offset, data)
        old = self.volumes[name]
        self.volumes[name] = old[:offset] + data + old[offset + block:]

    def unmap(self, name, index):
        """A whole cluster of a volume without a parent."""
        offset = index * self.cluster
        self.writer.unmap(name, offset, self.cluster)
        old = self.volumes[name]
        self.volumes[name] = old[:offset] + bytes(self.cluster) + old[offset + self.cluster:]

    def snapshot(self, origin, name):
        self.writer.create_snapshot(origin, name)
        self.volumes[name] = self.volumes[origin]

    def clone(self, name, snapshot):
        self.writer.create_clone(name, snapshot)
        self.volumes[name] = self.volumes[snapshot]

    def resize(self, name, clusters):
        size = clusters * self.cluster
        self.writer.resize(name, size)
        self.volumes[name] = self.volumes[name][:size].ljust(size, b"\0")

    def delete(self, name):
        self.writer.delete(name)
        del self.volumes[name]

    def rename(self, name, new_name):
        self.writer.rename(name, new_name)
        self.volumes[new_name] = self.volumes.pop(name)

    def inflate(self, name):
        self.writer.inflate(name)

    def decouple(self, name):
        self.writer.decouple_parent(name)

    def reload(self):
        """Unload, and load again in a new writer."""
        self.writer.unload()
        self.load()

    def load(self):
        self.writer = Writer(self.disk, external_bytes)
        self.writer.load()


def contents(path):
    """Name to bytes of all volumes, as the reader sees them."""
    with Store(path, external_bytes) as store:
        return {volume.name: store.read(volume, 0, store.size(volume))
                for volume in store.volumes()}
