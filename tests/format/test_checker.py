# SPDX-License-Identifier: BSD-2-Clause
"""The checker finds each fault that is planted, calls it by its name, and none in a sound image."""
import os
import pathlib
import subprocess
import sys

import pytest

from . import checker, faults_blob, faults_store
from .blob import ERROR, KNOWN, NOTE
from .editor import FAULTS, Editor, make_sound


@pytest.fixture(name="sound", scope="module")
def one_image(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "image"
    make_sound(path)
    return path


@pytest.fixture(name="image")
def a_copy(sound, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(sound.read_bytes())
    return path


def test_a_sound_image_has_no_findings(sound):
    assert checker.check(sound) == []
    assert checker.check(sound, strict=True) == []


def test_a_store_in_use_has_no_findings(image):
    editor = Editor(image)
    editor.unclean()
    editor.write(4096, b"\xff" * 12288)
    assert checker.check(image, strict=True) == []


@pytest.mark.parametrize("kind, level, plant", FAULTS, ids=[row[2].__name__ for row in FAULTS])
def test_the_checker_finds(image, kind, level, plant):
    plant(Editor(image))
    for strict, levels in ((False, {ERROR: ERROR, KNOWN: NOTE, NOTE: NOTE}),
                           (True, {ERROR: ERROR, KNOWN: ERROR, NOTE: NOTE})):
        findings = checker.check(image, strict)
        assert (kind, levels[level]) in {(one.kind, one.level) for one in findings}, findings
        if level != ERROR and not strict:
            assert checker.errors(findings) == []


def test_each_list_of_faults_is_planted():
    planted = {function.__module__ for _, _, function in FAULTS}
    assert planted == {faults_blob.__name__, faults_store.__name__}


def test_a_file_without_room_for_a_super_block_is_one_error(tmp_path):
    (tmp_path / "short").write_bytes(b"SPDKBLOB")
    assert [one.kind for one in checker.check(tmp_path / "short")] == ["super"]


@pytest.mark.parametrize("damage", range(40))
def test_random_bytes_in_metadata_are_survived(image, damage):
    """No fault, however planted, makes the checker itself fail."""
    editor = Editor(image)
    index = damage % 12
    page = editor.page(index) or editor.page(0)
    area = bytearray(page.area)
    for at in range(5):
        place = (damage * 7919 + at * 104729) % 400
        area[place] = (damage * 31 + at * 17) % 256
    page.area = bytes(area)
    editor.put(index, page)
    checker.check(image)
    editor.unclean()
    checker.check(image, strict=True)


def test_the_command_line_tells_by_its_exit_code(image, tmp_path):
    def run(*arguments):
        tests = pathlib.Path(__file__).parent.parent
        return subprocess.run([sys.executable, "-m", "format.checker", *arguments], cwd=tests,
                              env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
                              capture_output=True, text=True, check=False)

    assert run(image).returncode == 0
    Editor(image).super(version=2)
    assert "note: super-old" in run(image).stdout
    strict = run("--strict", image)
    assert strict.returncode == 1 and "error: super-old: version 2" in strict.stdout
    assert run(tmp_path / "nothing").returncode == 2
