"""What is needed on Windows uses nothing that Windows has not.

There is no Windows here: the first test has the type checker look, which knows what each system
has; the others run in a process from which that was taken (`guise.py`).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from os import PathLike
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

from everlog.connect import understood
from tests.scenarios.processes import environment

ROOT = Path(__file__).parents[2]

POSIX_ONLY = ("src/everlog/testing/postgresql/", "src/everlog/testing/torture/")
"""Where servers and processes are started, paused and killed: of Linux and macOS, and said so."""
FORKS = "src/everlog/testing/contract/lifecycle.py"
"""Forks, if a ledger says that it bears it."""


PLANTED = "tests/windows/planted.py"
SEEN = ["LOCK_UN", "getuid", "SIGKILL", "AF_UNIX"]


@pytest.mark.once
@pytest.mark.timeout(400)
def test_nothing_names_what_windows_has_not() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--platform", "win32", "--no-error-summary"),
            # A cache of its own: that of `dev.py check` is of another system.
            *("--cache-dir", ROOT / ".mypy_cache" / "win32"),
            *("src/everlog", PLANTED),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    planted = [line.split(": error:")[1] for line in found if line.startswith(PLANTED)]
    assert [re.findall('"([^"]+)"', line)[0] for line in planted] == SEEN
    assert not [line for line in found if not line.startswith((PLANTED, *POSIX_ONLY, FORKS))]


def run(program: str, folder: Path) -> list[Any]:
    """Returns what a program says as it is, and as on Windows."""
    done = subprocess.run(
        command(program, folder), env=environment(), capture_output=True, text=True, timeout=110
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: list[Any] = json.loads(done.stdout)
    return found


def command(program: str, folder: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "tests.windows.programs", program, str(folder)]


def test_every_module_can_be_imported_there(tmp_path: Path) -> None:
    as_it_is, there = run("imports", tmp_path)
    assert as_it_is == there > 250


@pytest.mark.parametrize("program", ["stores", "threads", "command_line"])
def test_a_program_does_there_what_it_does_here(program: str, tmp_path: Path) -> None:
    as_it_is, there = run(program, tmp_path)
    assert as_it_is == there
    assert there


def test_who_follows_there_is_told_of_what_another_process_appends(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("follow", tmp_path), env=environment(), stdout=subprocess.PIPE, text=True
    ) as follower:
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "following\n"
            assert run("append", tmp_path) == [0, 3]
            said = follower.stdout.read()
            assert json.loads(said) == [None, [0, 1, 2]]
        finally:
            follower.kill()


DRIVE = "C:\\Users\\Jane Doe\\50% of it\\app.db"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (PureWindowsPath(DRIVE), DRIVE),
        (PureWindowsPath("data") / "app.db", "data\\app.db"),
        (PureWindowsPath("//server/share/app.db"), "\\\\server\\share\\app.db"),
        ("sqlite:///C:/data/Jane%20Doe/app.db", "C:/data/Jane Doe/app.db"),
    ],
    ids=["a path", "a relative one", "one of a server", "a URL"],
)
def test_a_path_of_there_is_understood(url: str | PathLike[str], path: str) -> None:
    kind, where, _ = understood(url, {})
    assert (kind, where) == ("sqlite", path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_hub_there_ends_when_it_is_told_to(number: int, tmp_path: Path) -> None:
    with subprocess.Popen(
        command("serve", tmp_path),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as hub:
        try:
            assert hub.stdout is not None
            first = hub.stdout.readline()
            url = first.split()[-1]
            assert first == f"serving on {url}\n"
            with urllib.request.urlopen(f"{url}/v1/status") as reply:
                assert reply.status == 200
            hub.send_signal(number)
            out, error = hub.communicate(timeout=100)
        finally:
            hub.kill()
    assert out.splitlines()[0] == "stopped", error
