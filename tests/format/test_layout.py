# SPDX-License-Identifier: BSD-2-Clause
"""Sizes and places of stores, from small ones to those of large drives."""
import pytest

from .layout import make_layout

MIB, TIB = 1 << 20, 1 << 40
# device, K, P, ratio: C, M, masks (page, cluster, reserved, blobid), md_start, T, md clusters,
# data clusters, max growable
TABLE = [
    (32 * MIB, MIB, 4096, 100, 32, 32, (1, 1, 1, 1), 4, 36, 1, 31, 34317795328),
    (128 * MIB, 4 * MIB, 4096, 100, 32, 32, (1, 1, 1, 1), 4, 36, 1, 31, 137271181312),
    (TIB, 4 * MIB, 4096, 100, 262144, 262144, (9, 9, 9, 9), 28, 262172, 257, 261887, 1236782809088),
    (TIB, 4 * MIB, 4096, 200, 262144, 524288, (17, 9, 17, 17), 52, 524340, 513, 261631,
     2336294436864),
    (TIB, 4 * MIB, 16384, 100, 262144, 262144, (3, 3, 3, 3), 10, 262154, 1025, 261119,
     1649099669504),
    (7681501126656, 4 * MIB, 4096, 100, 1831412, 1831412, (56, 56, 56, 56), 169, 1831581, 1789,
     1829623, 7696413622272),
    (TIB, MIB, 4096, 100, 1048576, 1048576, (33, 33, 33, 33), 100, 1048676, 4097, 1044479,
     1133829423104),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}-{row[3]}")
def test_a_store_is_laid_out_as_the_format_says(row):
    (device, cluster, page, ratio, clusters, pages, masks, md_start, total, md_clusters, data,
     growable) = row
    layout = make_layout(device, 4096, 4096, cluster, page_size=page, ratio=ratio)
    assert (layout.clusters, layout.md_len) == (clusters, pages)
    assert (layout.page_mask_len, layout.cluster_mask_len, layout.cluster_mask_room,
            layout.blobid_mask_len) == masks
    assert (layout.md_start, layout.total_pages) == (md_start, total)
    assert (layout.md_clusters, layout.data_clusters) == (md_clusters, data)
    assert layout.max_growable == growable


def test_the_page_size_is_the_largest_of_what_asks_for_one():
    assert make_layout(1 << 30, 512, 512, MIB).page_size == 4096
    assert make_layout(1 << 30, 4096, 16384, MIB).page_size == 16384
    assert make_layout(1 << 30, 512, 16384, MIB, page_size=65536).page_size == 65536


@pytest.mark.parametrize("arguments", [
    (MIB, 512, 768, 65536), (MIB, 512, 512, 0), (MIB, 512, 512, 5000), (MIB, 512, 8192, 4096),
    (MIB, 512, 512, 2 * MIB), (8192, 512, 512, 4096)])
def test_what_makes_no_store_is_refused(arguments):
    with pytest.raises(ValueError):
        make_layout(*arguments)


def test_the_number_of_metadata_pages_wraps_as_elsewhere():
    # 42949674 clusters at 100 per cent are 2^32 + 104 hundredths
    assert make_layout(42949674 * MIB, 4096, 4096, MIB).md_len == 1
