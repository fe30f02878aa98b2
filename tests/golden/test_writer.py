"""What the writer does to a disk, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motia_generator.writer import Changes, WriteError, check, diff, write
from motia_spec.stamp import HEADER

A = f"{HEADER}\na = 1\n"
B = f"{HEADER}\nb = 1\n"


def files(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    generated = {"motia_types/a.py": A, "motia_types/steps/b.py": B}
    assert write(tmp_path, generated, {}) == Changes(("motia_types/a.py", "motia_types/steps/b.py"))
    before = (tmp_path / "motia_types/a.py").stat()
    changed = {**generated, "motia_types/steps/b.py": B + "c = 2\n"}
    assert check(tmp_path, changed) == Changes(("motia_types/steps/b.py",))
    assert files(tmp_path) == generated
    assert write(tmp_path, changed, {}) == Changes(("motia_types/steps/b.py",))
    assert files(tmp_path) == changed
    after = (tmp_path / "motia_types/a.py").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert not write(tmp_path, changed, {})


def test_stale_files_are_removed_and_others_stay(tmp_path: Path) -> None:
    write(tmp_path, {"motia_types/a.py": A, "motia_types/steps/old.py": B}, {})
    (tmp_path / "motia_types/mine.py").write_text("mine = True\n")
    cache = tmp_path / "motia_types/steps/__pycache__"
    cache.mkdir()
    (cache / "old.cpython-311.pyc").write_bytes(b"x")
    assert write(tmp_path, {"motia_types/a.py": A}, {}).removed == ("motia_types/steps/old.py",)
    assert files(tmp_path) == {"motia_types/a.py": A, "motia_types/mine.py": "mine = True\n"}
    assert not (tmp_path / "motia_types/steps").exists()


def test_a_file_of_somebody_else_in_the_way_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "motia_types").mkdir()
    (tmp_path / "motia_types/b.py").write_text("# mine\n")
    generated = {"motia_types/a.py": A, "motia_types/b.py": B}
    for refuse in (
        lambda: write(tmp_path, generated, {"steps/s.py": "s"}),
        lambda: check(tmp_path, generated),
        lambda: diff(tmp_path, generated),
    ):
        with pytest.raises(WriteError, match=r"motia_types/b\.py is in the way"):
            refuse()
    assert files(tmp_path) == {"motia_types/b.py": "# mine\n"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe binary"])
def test_what_is_not_text_is_in_the_way_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "motia_types").mkdir()
    (tmp_path / "motia_types/a.py").write_bytes(content)
    with pytest.raises(WriteError):
        write(tmp_path, {"motia_types/a.py": A}, {})
    assert (tmp_path / "motia_types/a.py").read_bytes() == content


def test_a_folder_or_a_file_in_place_of_the_other_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "motia_types").write_text("a file\n")
    with pytest.raises(WriteError, match="motia_types is in the way"):
        write(tmp_path, {"motia_types/a.py": A}, {})
    (tmp_path / "motia_types").unlink()
    (tmp_path / "motia_types/a.py").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"motia_types/a\.py is in the way"):
        write(tmp_path, {"motia_types/a.py": A}, {})


@pytest.mark.parametrize("path", ["../out.py", "/tmp/out.py", "steps/../../out.py"])
def test_nothing_is_written_outside_of_the_project(tmp_path: Path, path: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for generated, stubs in (({path: A}, {}), ({"motia_types/a.py": A}, {path: "x"})):
        with pytest.raises(WriteError, match="outside of the project"):
            write(root, generated, stubs)
    assert files(tmp_path) == {}


def test_links_out_of_the_project_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a.py").write_text(A)
    os.symlink(outside, root / "motia_types")
    with pytest.raises(WriteError, match="outside of the project"):
        write(root, {"motia_types/a.py": A, "motia_types/b.py": B}, {})
    assert files(outside) == {"a.py": A}
    (root / "motia_types").unlink()
    os.symlink(outside, root / "steps")
    with pytest.raises(WriteError, match="outside of the project"):
        write(root, {"motia_types/a.py": A}, {"steps/s.py": "s"})
    assert not (root / "motia_types").exists()


def test_stubs_are_written_once(tmp_path: Path) -> None:
    assert write(tmp_path, {}, {"steps/a.py": "first\n"}).stubs == ("steps/a.py",)
    (tmp_path / "steps/a.py").write_text("mine\n")
    assert not write(tmp_path, {}, {"steps/a.py": "second\n"})
    assert (tmp_path / "steps/a.py").read_text() == "mine\n"
    os.symlink(tmp_path / "nowhere.py", tmp_path / "steps/b.py")
    assert not write(tmp_path, {}, {"steps/b.py": "x"})


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"motia_types/a.py": A}, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, {"motia_types/a.py": B}, {})
    assert files(tmp_path) == {"motia_types/a.py": A}


def test_diff_shows_changed_new_and_removed_files(tmp_path: Path) -> None:
    write(tmp_path, {"motia_types/a.py": A, "motia_types/c.py": B}, {})
    text = diff(tmp_path, {"motia_types/a.py": A.replace("1", "2"), "motia_types/b.py": B})
    assert "--- a/motia_types/a.py\n+++ b/motia_types/a.py\n" in text
    assert "-a = 1\n+a = 2\n" in text
    assert "--- /dev/null\n+++ b/motia_types/b.py\n" in text
    assert "--- a/motia_types/c.py\n+++ /dev/null\n" in text
    assert diff(tmp_path, {"motia_types/a.py": A, "motia_types/c.py": B}) == ""
