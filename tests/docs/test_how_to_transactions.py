"""`docs/how-to/transactions.md` is true: each program runs and says what stands below it."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from everlog.testing import PostgresServer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "transactions.md"
URL = "postgresql://localhost/shop"
SHOWN = r"^## ([^\n]*)\n(?:(?!^## ).)*?^```python\n(.*?)^```\n\n```text\n(.*?)^```"
PROGRAMS = {
    title: (program, said)
    for title, program, said in re.findall(SHOWN, PAGE.read_text("utf-8"), re.M | re.S)
}


def test_every_program_of_the_page_says_something() -> None:
    page = PAGE.read_text("utf-8")
    assert len(PROGRAMS) == page.count("```python") == page.count("```text") == 5


@pytest.mark.parametrize("title", PROGRAMS)
def test_a_program_of_the_page_runs_and_says_what_stands_below_it(
    title: str, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    program, said = PROGRAMS[title]
    assert program.count(URL) == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace(URL, postgres_server.new_database())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert doctest.OutputChecker().check_output(said, done.stdout, doctest.ELLIPSIS), done.stdout
