"""`everlog sync`: what it does, how it ends, what it shows, and what it never says."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, SyncStatus, blocking
from everlog.cli import syncing
from everlog.cli.command_line import main
from everlog.ports.seams import Seams
from everlog.server import Pattern, TokenFile
from tests.client.elsewhere import Hubs
from tests.scenarios.processes import environment
from tests.store.watched import Noted

Capture = pytest.CaptureFixture[str]
PATIENCE_S = 60.0
ALL = [Pattern()]


@pytest.fixture
def hubs() -> Iterator[Hubs]:
    hubs = Hubs()
    yield hubs
    hubs.close()


def write(url: str, stream: str, count: int) -> None:
    async def append() -> None:
        async with EventStore.open(url, events=[Noted]) as store:
            await store.append(stream, *(Noted(number) for number in range(count)))

    asyncio.run(append())


def ids(url: str) -> list[str]:
    with blocking.EventStore.open(url, events=[Noted]) as store:
        return sorted(record.id for record in store.read())


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "everlog", "sync", *arguments]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_once_brings_both_into_step_and_says_so(
    hubs: Hubs, tmp_path: Path, capsys: Capture
) -> None:
    hub, edge = hubs.url(tmp_path / "hub", Seams()), f"sqlite:///{tmp_path}/edge.db"
    write(edge, "a", 3)
    write(hub, "b", 2)
    assert main(["sync", edge, hub, "--once"]) == 0
    assert capsys.readouterr().out == "in step at position 5: 2 new here, 3 new at the hub\n"
    assert main(["sync", edge, hub, "--once"]) == 0
    assert capsys.readouterr().out == "in step at position 5: 0 new here, 0 new at the hub\n"
    assert ids(edge) == ids(hub)


def test_only_what_is_wanted_comes(hubs: Hubs, tmp_path: Path, capsys: Capture) -> None:
    hub, edge = hubs.url(tmp_path / "hub", Seams()), f"sqlite:///{tmp_path}/edge.db"
    write(hub, "order-1", 2)
    write(hub, "user-1", 3)
    assert main(["sync", edge, hub, "--once", "--prefix", "order-"]) == 0
    assert "2 new here" in capsys.readouterr().out


@pytest.mark.parametrize("by", ["file", "variable"])
def test_a_token_comes_by_a_file_or_the_environment(
    by: str, hubs: Hubs, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.create("edge", pull=ALL, push=[Pattern(prefix="order-")])
    hub = hubs.url(tmp_path / "hub", Seams(), tokens=tokens, secret=b"sixteen bytes or more")
    edge = f"sqlite:///{tmp_path}/edge.db"
    write(edge, "order-1", 1)
    write(edge, "user-1", 1)
    monkeypatch.delenv("EVERLOG_TOKEN", raising=False)
    assert main(["sync", edge, hub, "--once"]) == 1
    assert "a token is needed" in capsys.readouterr().err
    more: list[str] = []
    if by == "file":
        (tmp_path / "token").write_text(f"{token}\n")
        more = ["--token-file", str(tmp_path / "token")]
    else:
        monkeypatch.setenv("EVERLOG_TOKEN", token)
    assert main(["sync", edge, hub, "--once", *more]) == 3
    out, error = capsys.readouterr()
    assert "1 new at the hub" in out
    assert "held " in error
    assert "'user-1': rejected" in error
    assert token not in out + error


def test_a_hub_that_is_not_there_has_an_exit_code_of_its_own(
    hubs: Hubs, tmp_path: Path, capsys: Capture
) -> None:
    hub, edge = hubs.url(tmp_path / "hub", Seams()), f"sqlite:///{tmp_path}/edge.db"
    hubs.close()
    assert main(["sync", edge, hub, "--once"]) == 4
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("everlog: http://127.0.0.1:")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sqlite:///a.db", "hub"], 2, "HUB is the URL of a hub"),
        (["sqlite:///a.db"], 2, "required: HUB"),
        (["sqlite:///a.db", "http://hub.example.com"], 1, "is another machine"),
        (["sqlite:///a.db", "https://a:kumquat@hub"], 1, "user or password"),
        (["nonsense", "http://127.0.0.1:1"], 1, "is no URL of a store"),
        (["sqlite:///a.db", "http://127.0.0.1:1", "--token-file", "no/such"], 1, "cannot be read"),
        (["sqlite:///a.db", "http://127.0.0.1:1", "--token-file", "empty"], 1, "is empty"),
        (["sqlite:///a.db", "http://127.0.0.1:1", "--token", "kumquat"], 2, "unrecognized"),
    ],
)
def test_what_was_not_understood_is_said_in_a_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    try:
        found = main(["sync", *arguments])
    except SystemExit as error:
        found = int(str(error.code))
    assert found == code
    said = capsys.readouterr().err
    assert words in said
    assert "kumquat" not in said


@pytest.mark.parametrize(
    ("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["Ctrl-C", "SIGTERM"]
)
def test_it_goes_on_until_it_is_stopped(
    by: signal.Signals, code: int, hubs: Hubs, tmp_path: Path
) -> None:
    hub, edge = hubs.url(tmp_path / "hub", Seams()), f"sqlite:///{tmp_path}/edge.db"
    write(edge, "a", 1)
    told = tmp_path / "told"
    with (
        told.open("wb") as stderr,
        subprocess.Popen(
            command(edge, hub),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            until(lambda: len(ids(hub)) == 1)
            write(hub, "b", 2)
            until(lambda: len(ids(edge)) == 3)
            write(edge, "a", 1)
            until(lambda: len(ids(hub)) == 4)
            until(lambda: "in step; hub " in told.read_text())  # a line now and then
            process.send_signal(by)
            out, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    error = told.read_text()
    assert process.returncode == code, error
    assert out.startswith("stopped at position ")
    assert "\r" not in error  # plain lines, where there is no terminal
    assert "Traceback" not in error


def test_a_terminal_sees_one_line_that_changes(hubs: Hubs, tmp_path: Path) -> None:
    hub, edge = hubs.url(tmp_path / "hub", Seams()), f"sqlite:///{tmp_path}/edge.db"
    write(hub, "b", 5)
    ours, theirs = pty.openpty()
    seen = b""
    with subprocess.Popen(
        command(edge, hub),
        env=environment(TERM="xterm"),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while b"in step; hub 5" not in seen:
                assert time.monotonic() < deadline, seen
                if select.select([ours], [], [], 1.0)[0]:
                    seen += os.read(ours, 4096)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            os.close(ours)
    assert b"\r\x1b[K" in seen
    assert b"here 5" in seen


def test_in_json_the_end_is_an_object_and_what_is_held_is_in_it(
    hubs: Hubs, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.create("edge", pull=ALL, push=[Pattern(prefix="order-")])
    hub = hubs.url(tmp_path / "hub", Seams(), tokens=tokens, secret=b"sixteen bytes or more")
    edge = f"sqlite:///{tmp_path}/edge.db"
    write(edge, "order-1", 2)
    monkeypatch.setenv("EVERLOG_TOKEN", token)
    assert main(["sync", edge, hub, "--once", "--json"]) == 0
    *_, end = objects(capsys)
    ended: dict[str, Any] = {
        "event": "done",
        "in_step": True,
        "position": 2,
        "new": 0,
        "pushed": 2,
        "held": [],
    }
    assert end == ended
    write(edge, "user-1", 1)
    assert main(["sync", edge, hub, "--once", "--json"]) == 3
    *_, end = objects(capsys)
    [held] = end["held"]
    assert (held["stream"], held["verdict"]) == ("user-1", "rejected")
    assert held.keys() == {"id", "stream", "verdict", "reason"}
    hubs.close()
    assert main(["sync", edge, hub, "--once", "--json"]) == 4
    out, error = capsys.readouterr()
    assert json.loads(error)["error"] == "TransportFailed"
    assert token not in out + error


def objects(capsys: Capture) -> list[Any]:
    """What was said in JSON; nothing is on stderr."""
    out, error = capsys.readouterr()
    assert error == ""
    return [json.loads(line) for line in out.splitlines()]


def test_in_json_each_change_is_an_object_while_it_goes_on(hubs: Hubs, tmp_path: Path) -> None:
    hub, edge = hubs.url(tmp_path / "hub", Seams()), f"sqlite:///{tmp_path}/edge.db"
    write(hub, "b", 5)
    with subprocess.Popen(
        command(edge, hub, "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            told: dict[str, Any] = {"in_step": False}
            while not told["in_step"]:
                told = json.loads(process.stdout.readline())
                assert told["event"] == "progress"
            process.send_signal(signal.SIGTERM)
            out, error = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert (told["position"], told["head"], told["here"]) == (5, 5, 5)
    assert (told["held"], told["error"], told["works"]) == (0, "", True)
    assert json.loads(out.splitlines()[-1]) == {"event": "stopped", "position": 5}
    assert (process.returncode, error) == (0, "")


@pytest.mark.parametrize(
    ("position", "head", "said"),
    [
        (0, None, "hub 0 · here 7"),
        (0, 4_000, "hub 0 of 4,000 (0%) · here 7"),
        (1_200, 4_000, "hub 1,200 of 4,000 (30%) · here 7"),
        (3_999, 4_000, "hub 3,999 of 4,000 (99%) · here 7"),
        (4_000, 4_000, "hub 4,000 · here 7"),
    ],
)
def test_it_shows_how_much_of_the_hubs_history_is_here(
    position: int, head: int | None, said: str
) -> None:
    status = SyncStatus("h" * 32, None, False, position, head, (), "", 0, 0.1, True)
    assert syncing.line_of(status, here=7, per_s=0) == f"catching up; {said}"
    assert syncing.line_of(status, here=7, per_s=350.4) == f"catching up; {said} · 350/s"


def test_its_help_says_how_it_ends(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["sync", "--help"])
    said = capsys.readouterr().out
    for words in ("exit codes:", "EVERLOG_TOKEN", "  4  the hub was not reached", "130"):
        assert words in said
