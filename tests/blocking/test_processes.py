"""Real processes: Ctrl-C in an append, forks, and programs that end without closing anything."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from everlog.blocking import EventStore
from tests.blocking.notes import EVENTS, PATIENCE_S
from tests.scenarios.processes import environment


@contextmanager
def program(name: str, path: Path) -> Generator[subprocess.Popen[str]]:
    """Runs a program of `programs.py`; it never outlives the test."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-W", "error"),
            # That a program which closes nothing leaves a database open is no news.
            *("-W", "ignore:unclosed database:ResourceWarning"),
            *("-P", "-m", "tests.blocking.programs", name, str(path)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end_of(process: subprocess.Popen[str], *, said: str = "") -> list[str]:
    """Returns what a program says to its end; it ends well and complains of nothing."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(said)
    process.stdin.flush()
    # Not `communicate`, which passes over what `readline` has read already beyond its line.
    output, complaints = process.stdout.read(), process.stderr.read()
    assert (process.wait(timeout=PATIENCE_S), complaints) == (0, "")
    return output.splitlines()


def test_an_append_that_is_interrupted_in_its_commit_is_settled_by_a_retry(tmp_path: Path) -> None:
    with program("interrupted_in_the_commit", tmp_path / "notes.db") as process:
        assert line_of(process) == "in the commit"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "interrupted"
        # Stored whole, though its caller was interrupted: the retry gets the same records.
        assert end_of(process, said="go on\n") == ["[1, 2] 2 True"]


def test_an_append_that_is_interrupted_in_the_queue_leaves_nothing(tmp_path: Path) -> None:
    with program("interrupted_in_the_queue", tmp_path / "notes.db") as process:
        assert line_of(process) == "in the commit"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "interrupted None"
        assert end_of(process, said="go on\n") == ["[2, 3] 3 True"]


def test_a_second_interrupt_does_not_wait_for_what_does_not_end(tmp_path: Path) -> None:
    with program("interrupted_twice", tmp_path) as process:
        assert line_of(process) == "waiting"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "cancelled, and it goes on"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "interrupted"
        assert end_of(process) == []


def test_a_forked_child_is_refused_opens_its_own_and_its_parent_goes_on(tmp_path: Path) -> None:
    with program("forked", tmp_path / "notes.db") as process:
        assert end_of(process) == ["child 0"] * 10 + ["parent 11 True"]
    with EventStore.open(tmp_path / "notes.db", events=EVENTS) as store:
        assert len(store.read("c").to_list()) == 10


@pytest.mark.parametrize("name", ["forked_and_left", "forked_and_replaced"])
def test_a_forked_child_that_ends_as_a_program_does_harms_nothing(
    name: str, tmp_path: Path
) -> None:
    with program(name, tmp_path / "notes.db") as process:
        assert end_of(process) == ["child 0 2"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("left_open", ["1"]),
        ("left_open_with_a_handler_that_hangs", ["entered"]),
        ("a_thread_outlives_the_main_one", ["main ends", "appended 100"]),
    ],
)
def test_a_program_that_closes_nothing_ends_and_has_lost_nothing(
    name: str, said: list[str], tmp_path: Path
) -> None:
    with program(name, tmp_path / "notes.db") as process:
        assert end_of(process) == said
    with EventStore.open(tmp_path / "notes.db", events=EVENTS) as store:
        assert store.verify().ok
        assert len(store.read("a").to_list()) >= 1
