"""`llms.txt` is true, and in the form that it names: its program runs, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, blocks_of, run

pytestmark = pytest.mark.once

FILE = ROOT / "llms.txt"
TEXT = FILE.read_text("utf-8")
SAID = """\
2 2 money:deposited Deposited(cents=500) {year}
500
505 3
followed 2
True
"""


def test_its_program_runs_and_says_what_it_should(tmp_path: Path) -> None:
    [program] = blocks_of(FILE)
    assert program.language == "python"
    done = run(program, tmp_path)
    assert (done.code, done.stderr) == (0, "")
    assert re.sub(r"\b20\d\d\b", "{year}", done.stdout) == SAID


def test_it_has_the_form_of_an_llms_txt() -> None:
    prose = re.sub(r"^```.*?^```\n", "", TEXT, flags=re.M | re.S)
    assert prose.startswith("# everlog\n\n> ")
    assert len(re.findall(r"^# ", prose, re.M)) == 1
    _, *sections = re.split(r"^## .*\n", prose, flags=re.M)
    assert len(sections) == 4
    for section in sections:
        for line in filter(None, section.splitlines()):
            assert re.fullmatch(r"- \[[^]]+\]\([^)]+\): .+", line), line


def test_it_leads_to_files_that_exist_and_to_every_part_of_the_documentation() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert [link for link in links if not (ROOT / link).is_file()] == []
    for folder in ("how-to", "explanation"):
        for page in (DOCS / folder).glob("*.md"):
            assert page.name == "index.md" or page.relative_to(ROOT).as_posix() in links, page


def test_the_program_is_short() -> None:
    [program] = blocks_of(FILE)
    assert len([line for line in program.text.splitlines() if line.strip()]) <= 60
