# SPDX-License-Identifier: BSD-2-Clause
"""The images made for other tests are what the text beside them says."""
import pytest

from . import images
from .crc32c import crc32c
from .scenarios import CASES
from .shadow import CLUSTER, contents


def states(lines):
    found = {}
    for line in lines:
        word, *rest = line.split()
        if word == "state":
            volumes = found[rest[0]] = {}
        elif word == "volume":
            clusters = volumes[rest[0]] = [0] * int(rest[1])
        elif word == "cluster":
            clusters[int(rest[0])] = int(rest[1], 16)
    return found


def sums(path):
    return {name: [crc32c(part) if any(part) else 0 for part in
                   (data[at:at + CLUSTER] for at in range(0, len(data), CLUSTER))]
            for name, data in contents(path).items()}


@pytest.mark.parametrize("name", ["delete a snapshot that shares a slot", "copy from outside"])
def test_each_image_shows_one_of_two_states(tmp_path, name):
    folder = images.make(tmp_path, name)
    lines = (folder / "expected.txt").read_text().splitlines()
    assert lines[0] == f"case {folder.name}"
    count = int(lines[1].split()[1])
    both = states(lines)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{number}.img" for number in range(count)] + ["expected.txt"])
    assert sums(folder / "0.img") == both["before"]
    assert sums(folder / f"{count - 1}.img") == both["after"]
    for number in range(count):
        assert sums(folder / f"{number}.img") in both.values()


def test_folders_have_names_of_their_own():
    assert len({images.folder_name(name) for name in CASES}) == len(CASES)
    assert images.folder_name("delete an external clone's snapshot") == \
        "delete-an-external-clone-s-snapshot"
