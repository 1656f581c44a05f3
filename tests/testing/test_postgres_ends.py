"""Nothing of a server outlives its block or its process, however they end."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.errors import StorageFailed
from everlog.testing import postgres
from everlog.testing.postgresql import processes
from tests.testing.from_outside import (
    ask,
    comes_true,
    is_shared_memory,
    processes_in,
    shared_memory_of,
)
from tests.testing.postgres_programs import Program


@pytest.fixture(autouse=True)
def _no_server_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERLOG_TEST_POSTGRES", raising=False)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the temporary folders of this test are, and nothing else; for programs as TMPDIR."""
    with tempfile.TemporaryDirectory(prefix="everlog-test-") as name:
        os.chmod(name, 0o755)
        monkeypatch.setattr("tempfile.tempdir", name)
        yield Path(name)


def is_gone(place: Path) -> bool:
    return not processes_in(place) and not list(place.iterdir())


# --- the block ends ---


@pytest.mark.parametrize(
    "end",
    [
        "running",
        "with a standby",
        "shut down",
        "stopped in its steps",
        "killed",
        "killed by others",
        "raising",
    ],
)
def test_nothing_is_left_at_the_end_of_the_block(end: str, place: Path) -> None:
    segment = ""

    def block() -> None:
        nonlocal segment
        with postgres() as server:
            segment = shared_memory_of(server.log.parent)
            assert is_shared_memory(segment)
            if end == "with a standby":
                with server.standby():
                    assert len(list(place.iterdir())) == 2
                assert len(list(place.iterdir())) == 1
            if end == "shut down":
                server.stop()
            if end == "stopped in its steps":
                os.kill(server.pid, signal.SIGSTOP)
            if end == "killed":
                server.kill()
            if end == "killed by others":
                os.kill(server.pid, signal.SIGKILL)
            if end == "raising":
                raise ZeroDivisionError

    if end == "raising":
        with pytest.raises(ZeroDivisionError):
            block()
    else:
        block()
    # What others leave of it ends by itself, as soon as it looks.
    assert comes_true(lambda: is_gone(place)) if end == "killed by others" else is_gone(place)
    assert segment
    assert not is_shared_memory(segment)


def test_a_folder_that_cannot_be_removed_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "WATCH", processes.WATCH.replace("rm -rf", "true"))
    with pytest.raises(StorageFailed, match="could not be removed"), postgres():
        pass
    assert not processes_in(place)


# --- the process ends ---


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_a_server_does_not_outlive_a_process_that_is_killed(killed: bool, place: Path) -> None:
    with Program("serve", killed, TMPDIR=str(place)) as program:
        told = program.hear()
        assert program.hear() == "ready"
        assert Path(told["folder"]).parent == place
        segment = "" if killed else shared_memory_of(Path(told["folder"]))
        program.kill()
        assert comes_true(lambda: is_gone(place))
        assert killed or not is_shared_memory(segment)


def test_a_process_that_is_killed_while_the_data_are_made_leaves_nothing(place: Path) -> None:
    with Program("serve", False, TMPDIR=str(place)) as program:
        assert comes_true(
            lambda: (
                any(place.glob("*/data/PG_VERSION"))
                and any("initdb" in process for process in processes_in(place))
            )
        )
        program.kill()
        assert comes_true(lambda: is_gone(place))


def test_a_server_that_is_stopped_in_its_steps_ends_with_its_process_all_the_same(
    place: Path,
) -> None:
    with Program("serve", False, TMPDIR=str(place)) as program:
        told = program.hear()
        assert program.hear() == "ready"
        os.kill(told["pid"], signal.SIGSTOP)
        program.kill()
        assert comes_true(lambda: is_gone(place))


def test_forked_children_neither_end_a_server_nor_keep_it(place: Path) -> None:
    with Program("fork", TMPDIR=str(place)) as program:
        told = program.hear()
        assert program.hear() == {"leaver": 0, "up": True}
        stayer = program.hear()["stayer"]
        program.kill()
        assert comes_true(lambda: is_gone(place))
        assert processes.is_alive(stayer)
        with pytest.raises(Exception, match="Connection refused"):
            ask(told["url"], "SELECT 1")


def test_a_program_that_goes_its_way_leaves_nothing(place: Path) -> None:
    with Program("serve", False, TMPDIR=str(place)) as program:
        program.hear()
        assert program.hear() == "ready"
        assert program.go_on() == 0
        assert is_gone(place)


# --- tests of the test ---


def test_what_a_watcher_leaves_that_looks_away_is_seen(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "WATCH", "cat >/dev/null")
    with postgres():
        assert not is_gone(place)
        assert len(processes_in(place)) > 5
    assert not is_gone(place)
    assert processes_in(place) == []
