# SPDX-License-Identifier: BSD-2-Clause
"""The blobstore format, a second time: what docs and src say about it is checked against this.

Nothing here knows src/. Structures are taken apart and put together in structures.py, sizes and
places are computed in layout.py; reader.py makes a model of an image and reads its volumes,
checker.py finds what contradicts itself, writer.py plays another program that writes such stores,
in the order in which that one writes, and dies where a test wants it to.
"""
