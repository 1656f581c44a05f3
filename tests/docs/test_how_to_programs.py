"""Pages whose programs stand by themselves are true: each runs and says what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from everlog.printing import print_events

ROOT = Path(__file__).parents[2]
PAGES = {"events": 3, "hub": 1, "subscriptions": 9, "sync": 4}
"""How many programs each page has."""
SHOWN = r"^## ([^\n]*)\n(?:(?!^## ).)*?^```python\n(.*?)^```\n\n```text\n(.*?)^```"


def text_of(page: str) -> str:
    return (ROOT / "docs" / "how-to" / f"{page}.md").read_text("utf-8")


PROGRAMS = {
    (page, title): (program, said)
    for page in PAGES
    for title, program, said in re.findall(SHOWN, text_of(page), re.M | re.S)
}


@pytest.mark.parametrize("page", PAGES)
def test_every_program_of_a_page_says_something(page: str) -> None:
    count = sum(of == page for of, _ in PROGRAMS)
    text = text_of(page)
    assert count == text.count("```python") == text.count("```text") == PAGES[page]


@pytest.mark.parametrize(("page", "title"), PROGRAMS)
def test_a_program_of_a_page_runs_and_says_what_stands_below_it(
    page: str, title: str, tmp_path: Path
) -> None:
    program, said = PROGRAMS[page, title]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == said


def test_configurations_of_a_page_can_be_printed(tmp_path: Path) -> None:
    found = re.findall(r"^```json\n(.*?)^```", text_of("events"), re.M | re.S)
    assert len(found) == 1
    for number, text in enumerate(found):
        (tmp_path / f"{number}.json").write_text(text)
    print_events([tmp_path], out=tmp_path / "events.py")
