"""`examples/bank`, as a program, on both databases: its story ends as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def told(*arguments: str) -> str:
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "bank"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["default", "postgres"])
def test_a_day_at_the_bank(kind: str, request: pytest.FixtureRequest) -> None:
    url = []
    if kind == "postgres":
        url = [request.getfixturevalue("postgres_server").new_database()]
    story = told(*url)
    # One call was made twice, with the key of the first; the payment was not.
    assert "dies (signal 9): the other bank has 5 payments, and the log knows of 4" in story
    assert re.search(r"position \d+: begun, and no outcome", story)
    assert "It asked the other bank 1 more time(s)" in story
    assert "12 payments were made, and 12 receipts are in the log" in story
    balances = [int(line.split()[-1]) for line in story.splitlines()[-4:]]
    ordered = sum(100 + number for number in range(12))
    assert sum(balances) == 400_000 - ordered


def test_what_it_can_be_asked() -> None:
    assert "where the log is to be" in told("--help")
