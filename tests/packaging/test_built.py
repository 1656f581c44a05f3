"""What is built is whole, is what its metadata says, and tells nothing of where it was made."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.requirements import Requirement

import everlog
from tests.architecture.test_footprint import INDEX, MACHINE_PATH, own_files
from tests.packaging.building import ROOT, build

pytestmark = pytest.mark.once

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SOURCE = ROOT / "src"


def content_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata_of(wheel: Path) -> Message:
    [text] = [text for name, text in content_of(wheel).items() if name.endswith("/METADATA")]
    return message_from_bytes(text)


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    found = content_of(wheel)
    inside = {name: text for name, text in found.items() if ".dist-info/" not in name}
    ours = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for path in own_files()
        if path.is_relative_to(SOURCE)
    }
    assert inside == ours
    assert "everlog/py.typed" in inside
    assert len([name for name in inside if name.endswith(".sql")]) >= 4
    info = f"everlog-{everlog.__version__}.dist-info"
    outside = {name for name in found if name not in inside}
    files = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    assert outside == {f"{info}/{name}" for name in files}
    assert b"Root-Is-Purelib: true\nTag: py3-none-any\n" in found[f"{info}/WHEEL"]
    points = "[console_scripts]\neverlog = everlog.cli.command_line:main\n"
    assert found[f"{info}/entry_points.txt"].decode() == points


def test_the_metadata_say_what_it_is_and_what_it_needs(wheel: Path) -> None:
    found = metadata_of(wheel)
    assert (found["Name"], found["Version"]) == ("everlog", everlog.__version__)
    assert found["Requires-Python"] == ">=3.11"
    assert found["License-Expression"] == "MIT"
    assert found["License-File"] == "LICENSE"
    assert found["Summary"] == PROJECT["description"]
    assert "Typing :: Typed" in (found.get_all("Classifier") or [])
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    assert set(found.get_all("Provides-Extra") or []) == set(extras)
    needed = [Requirement(str(text)) for text in found.get_all("Requires-Dist") or []]
    for extra, wanted in {"": list[str](), **extras}.items():
        names = {
            each.name
            for each in needed
            if each.marker is None or each.marker.evaluate({"extra": extra})
        }
        assert names == {"pydantic", *(Requirement(text).name for text in wanted)}, extra


def test_the_description_is_the_readme_and_can_be_shown(wheel: Path) -> None:
    found = metadata_of(wheel)
    assert found["Description-Content-Type"] == "text/markdown"
    text = content_of(wheel)[f"everlog-{everlog.__version__}.dist-info/METADATA"].decode()
    assert text.partition("\n\n")[2] == (ROOT / "README.md").read_text("utf-8")
    shown = str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
    assert shown.count("<h1>everlog</h1>") == 1
    assert '<pre><code class="language-python">import asyncio' in shown
    assert "<table>" in shown
    assert not re.search(r"^\| ---", shown, re.M), "a table that is none"


def test_the_sdist_builds_the_very_same_wheel(wheel: Path, unpacked: Path, tmp_path: Path) -> None:
    again = build("wheel", unpacked, tmp_path)
    assert content_of(again) == content_of(wheel)
    assert again.read_bytes() == wheel.read_bytes()


def test_the_sdist_has_what_is_needed_to_work_on_it(unpacked: Path) -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in own_files()}
    there = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    assert there - ours == {"PKG-INFO"}
    # What is of a clone alone: what runs the merges, and the settings of git and editors.
    assert not [name for name in ours - there if not name.startswith(".")]


def test_neither_tells_where_it_was_made(wheel: Path, sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        files = {
            each.name: (archive.extractfile(each) or io.BytesIO()).read()
            for each in archive
            if each.isfile()
        }
        people = {(each.uid, each.gid, each.uname, each.gname) for each in archive}
    assert people == {(0, 0, "", "")}
    files.update(content_of(wheel))
    ours = {str(ROOT), sys.prefix, str(Path.home())} - {"/"}
    for name, content in files.items():
        text = content.decode("utf-8", "replace")
        assert not [path for path in ours if f"{path}/" in text], name
        if not name.endswith(".png"):
            assert not MACHINE_PATH.search(text), name
            assert not INDEX.search(text), name


def test_the_type_checker_of_who_installs_it_sees_its_types(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "packages")
    program = tmp_path / "program.py"
    program.write_text(
        "from everlog import EventStore\n"
        "async def main(store: EventStore) -> None:\n"
        "    reveal_type((await store.info()).position)\n"
        "    await store.append(1)\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-incremental"),
            *("--follow-imports", "silent", "--config-file=", program.name),
        ],
        cwd=tmp_path,
        env={"MYPYPATH": str(tmp_path / "packages"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert 'Revealed type is "int"' in done.stdout, done.stdout + done.stderr
    assert "program.py:4: error" in done.stdout
