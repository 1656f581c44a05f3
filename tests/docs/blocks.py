"""The blocks of code on pages of the documentation, and which test runs those of a page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
IN_ONE_FOLDER = "<!-- programs: in one folder -->"
"""A page that has this line runs its programs in its order, in one folder: see CONTRIBUTING.md."""

RUNNABLE = frozenset({"python", "sh", "console", "sql", "diff"})
"""Languages of blocks that a test has to run, or to say why not."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[^\s`]*)(?P<rest>[^`]*)$")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    """Where its fence stands, from 1."""
    language: str
    text: str
    said: str | None = None
    """What stands in the block of `text` right below it, if one does."""

    @property
    def place(self) -> str:
        """How a test names it."""
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Returns the path of a page below docs/, or below the root if it is not there."""
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def pages() -> list[Path]:
    """Returns all pages of docs/."""
    return sorted(DOCS.rglob("*.md"))


def blocks_of(page: Path) -> list[Block]:
    """Returns the blocks of a page, in its order."""
    return list(_blocks_in(page, page.read_text("utf-8")))


def _blocks_in(page: Path, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    found: Block | None = None
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            if lines[number].strip() and found is not None:
                yield found
                found = None
            number += 1
            continue
        first = number
        number += 1
        while number < len(lines) and lines[number].strip() != opened["fence"]:
            number += 1
        inside = dedent("".join(f"{line}\n" for line in lines[first + 1 : number]))
        block = Block(page, first + 1, opened["language"], inside)
        if found is not None and found.language != "text" and block.language == "text":
            found = found._replace(said=inside)
            yield found
            found = None
            yield block
        else:
            if found is not None:
                yield found
            found = block
        number += 1
    if found is not None:
        yield found


class Owner(NamedTuple):
    """A test module that runs what stands on a page."""

    module: str
    languages: frozenset[str]


def owners() -> Mapping[str, list[Owner]]:
    """Returns, for each page that has a test of its own, the modules that say so.

    A module says so by a `PAGE`, which is a path, or by `PAGES`: paths, or names below docs/, with
    or without `how-to/` before and `.md` behind. It runs the programs in Python, unless it says by
    `RUNS` what it runs; whoever follows its pages to the letter runs all that can be run.
    """
    owned: dict[str, list[Owner]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = import_module(f"tests.docs.{path.stem}")
        runs = getattr(module, "RUNS", RUNNABLE if hasattr(module, "steps_of") else {"python"})
        said: list[object] = [getattr(module, "PAGE", None), *getattr(module, "PAGES", ())]
        for page in _paths(said):
            owned.setdefault(name_of(page), []).append(Owner(path.name, frozenset(runs)))
    return owned


def _paths(said: Iterable[object]) -> Iterator[Path]:
    for each in said:
        if isinstance(each, Path):
            yield each
        elif isinstance(each, str):
            name = each if "/" in each else f"how-to/{each}"
            yield DOCS / (name if name.endswith(".md") else f"{name}.md")


class Ran(NamedTuple):
    """How a program ended."""

    code: int
    stderr: str
    stdout: str


def run(block: Block, folder: Path) -> Ran:
    """Runs a block as a file in a folder; `# users.py` in its first line is its name."""
    named = re.match(r"# (\w+\.py)\n", block.text)
    program = folder / (named[1] if named else "program.py")
    program.write_text(block.text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program.name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    return Ran(done.returncode, done.stderr, done.stdout)
