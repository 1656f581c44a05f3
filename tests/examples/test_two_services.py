"""`examples/two_services`, as a program, with hubs on both databases: it ends as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def told(*arguments: str) -> str:
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "two_services"), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["default", "postgres"])
def test_two_services_and_a_hub(kind: str, request: pytest.FixtureRequest) -> None:
    url = []
    if kind == "postgres":
        url = [request.getfixturevalue("postgres_server").new_database()]
    story = told(*url)
    assert "order-3 is sent, P-" in story
    assert "in the hub's log 3 sent, 4 placed" in story
    assert "in that of the shipping service 3 sent, 4 not known" in story
    assert "dies (signal 9) in the worst moment: the carrier has 6 parcels" in story
    assert "and its own log knows of 5" in story
    assert "in its log 7 sent, 2 not known" in story
    assert "all 9 orders are sent, in each of the three logs" in story
    assert "27 events are in each log" in story
    assert "9 parcels left, each once; 1 was handed over again" in story


def test_what_it_can_be_asked() -> None:
    assert "where the hub's log is to be" in told("--help")
