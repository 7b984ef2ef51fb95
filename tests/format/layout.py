# SPDX-License-Identifier: BSD-2-Clause
"""Sizes and places: how a store is laid out on a device, and how far it can grow.

Pages of the super block are counted from byte 0 in units of md_page_size; md indexes from the start
of the metadata region. Clusters are counted from byte 0 too, so cluster 0 is always metadata.
"""
import dataclasses

STRUCTURE = 4096           # what of a page slot is used, whatever the page size
MASK_HEADER = 5
SLOT_CLUSTERS = 512        # clusters of one extent page
MD_CLUSTER_RATIO = 100     # per cent


def ceil_div(number, by):
    return -(-number // by)


def mask_pages(bits, page_size):
    return ceil_div(MASK_HEADER + ceil_div(bits, 8), page_size)


def slot_count(clusters):
    return ceil_div(clusters, SLOT_CLUSTERS)


def slot_entries(slot, clusters):
    """How many entries the extent page of a slot has to have."""
    return min(SLOT_CLUSTERS, clusters - SLOT_CLUSTERS * slot)


@dataclasses.dataclass
class Layout:
    """What a super block says about places, and what follows from it."""
    size: int
    io_unit_size: int
    page_size: int
    cluster_size: int
    page_mask_start: int
    page_mask_len: int
    cluster_mask_start: int
    cluster_mask_len: int
    blobid_mask_start: int
    blobid_mask_len: int
    md_start: int
    md_len: int

    @property
    def clusters(self):
        return self.size // self.cluster_size

    @property
    def pages_per_cluster(self):
        return self.cluster_size // self.page_size

    @property
    def md_clusters(self):
        return ceil_div(self.md_start + self.md_len, self.pages_per_cluster)

    @property
    def data_clusters(self):
        return self.clusters - self.md_clusters

    @property
    def cluster_mask_room(self):
        """Pages for the cluster mask, with those that growth may take."""
        return self.blobid_mask_start - self.cluster_mask_start

    @property
    def total_pages(self):
        return self.md_start + self.md_len

    @property
    def max_growable(self):
        bits = 8 * (self.cluster_mask_room * self.page_size - MASK_HEADER)
        return bits * self.cluster_size

    def md_offset(self, index):
        return (self.md_start + index) * self.page_size


def make_layout(device_size, block_size, physical_size, cluster_size, *, page_size=0,
                ratio=MD_CLUSTER_RATIO, md_len=None):
    """The layout that a new store gets; ValueError where creation is refused."""
    page = max(physical_size, STRUCTURE, page_size)
    if physical_size % block_size:
        raise ValueError("the physical block size is no multiple of the block size")
    if not cluster_size or cluster_size % STRUCTURE or cluster_size < page:
        raise ValueError("the cluster size is no multiple of 4096 or below the page size")
    if cluster_size > device_size:
        raise ValueError("the device is smaller than a cluster")
    size = device_size // block_size * block_size
    clusters = size // cluster_size
    pages = ((ratio * clusters) % (1 << 32)) // 100 if md_len is None else md_len
    if not pages:
        raise ValueError("no metadata page")
    md_mask, cluster_mask = mask_pages(pages, page), mask_pages(clusters, page)
    cluster_start = 1 + md_mask
    blobid_start = cluster_start + max(cluster_mask, md_mask)
    layout = Layout(size, block_size, page, cluster_size, 1, md_mask, cluster_start, cluster_mask,
                    blobid_start, md_mask, blobid_start + md_mask, pages)
    if layout.md_clusters > clusters:
        raise ValueError("metadata does not fit")
    return layout
