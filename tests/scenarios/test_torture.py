"""The gap torture is survived, and a ledger with a fault does not survive it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.connect import connect
from everlog.errors import CannotOpen, InvalidInput
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing.torture import Report, torture
from everlog.testing.torture.mischief import Scene
from tests.scenarios.processes import environment

SURE = {"pauses", "kills", "cancelled", "WrongVersion", "readings that found something"}
"""What must have happened in every torture that is worth the name."""

FEW: Any = {"seconds": 0.6, "processes": 2, "writers": 4, "readers": 1}
"""Enough for a fault that does not wait for chance."""


def tortured(fault: str, folder: Path) -> Report:
    """Returns what is found of a ledger with a fault."""
    folder.mkdir()
    ledger = f"tests.scenarios.faulty_ledgers:{fault}"
    report = torture(sqlite_in(folder), **FEW, mischief=[], ledger=ledger)
    print(report)
    assert not report.ok
    return report


def sqlite_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'torture.db'}"


def survived(report: Report, *also: str) -> None:
    print(report)
    assert report.ok, report
    assert report.events >= report.acknowledged > 0
    assert {*SURE, *also} <= {what for what, count in report.counts.items() if count}


def test_sixteen_writers_in_four_processes_on_one_file_lose_double_and_invert_nothing(
    tmp_path: Path,
) -> None:
    report = torture(sqlite_in(tmp_path), seconds=3)
    survived(report)
    assert report.events > 100

    async def positions() -> list[int]:
        async with EventStore.open(sqlite_in(tmp_path)) as store:
            return [record.position async for record in store.read()]

    assert asyncio.run(positions()) == list(range(1, report.events + 1))


@pytest.mark.soak
def test_a_minute_and_a_hundred_thousand_events_on_one_file_are_survived(tmp_path: Path) -> None:
    report = torture(sqlite_in(tmp_path), seconds=60, at_least=100_000)
    survived(report)
    assert report.events >= 100_000


def test_a_ledger_that_holds_something_already_is_tortured_from_there_on(tmp_path: Path) -> None:
    url = sqlite_in(tmp_path)
    first, second = torture(url, **FEW, mischief=[]), torture(url, **FEW, mischief=[])
    assert first.ok, first
    assert second.ok, second


# --- tests of the test --------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("swallowing", "was acknowledged and is not stored"),
        ("refusing", "was refused, and is stored all the same"),
        ("halving", "events of"),
        ("skipping", "passed over"),
        ("repeating", "twice"),
        ("swapping", "saw position"),
    ],
)
def test_a_fault_planted_in_a_ledger_is_found_at_once(
    fault: str, found: str, tmp_path: Path
) -> None:
    report = tortured(fault, tmp_path / "0")
    for run in range(1, 3):  # readers may show it by something else first; so much is told of each
        if not any(found in problem for problem in report.problems):
            report = tortured(fault, tmp_path / str(run))
    assert any(found in problem for problem in report.problems), report
    counted = {
        "swallowing": report.lost,
        "skipping": report.lost,
        "repeating": report.twice,
        "swapping": report.inverted,
    }
    assert counted.get(fault, 1) > 0


async def end_by_itself(scene: Scene) -> None:
    """A mischief that does not go on until it is told to stop."""
    scene.counted("ends")


async def burn(scene: Scene) -> None:
    """A mischief of one's own."""
    while True:
        await asyncio.sleep(scene.rng.uniform(0.01, 0.02))
        scene.counted("flames")


def test_mischief_of_ones_own_is_made_and_counted(tmp_path: Path) -> None:
    report = torture(sqlite_in(tmp_path), **FEW, mischief=[f"{__name__}:burn"])
    assert report.ok, report
    assert report.counts["flames"] > 3


def test_mischief_that_ends_by_itself_is_a_problem(tmp_path: Path) -> None:
    report = torture(sqlite_in(tmp_path), **FEW, mischief=[f"{__name__}:end_by_itself"])
    assert [problem for problem in report.problems if "ended by itself" in problem] != []


async def open_here_only(url: str) -> Ledger:
    """Fails in every process but the one that runs the tests."""
    if os.environ["TESTS_RUN_IN"] != str(os.getpid()):
        raise CannotOpen("it is not there")
    return await connect(url, seams=Seams(), options={})


def test_processes_that_do_not_start_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTS_RUN_IN", str(os.getpid()))
    with pytest.raises(CannotOpen, match="did not start") as raised:
        torture(sqlite_in(tmp_path), **FEW, ledger=f"{__name__}:open_here_only")
    assert "CannotOpen: it is not there" in str(raised.value)


@pytest.mark.parametrize(
    ("url", "options", "problem"),
    [
        ("memory:", {}, "several processes can share"),
        ("sqlite:///x.db", {"writers": 3}, "every process needs a writer"),
        ("sqlite:///x.db", {"mischief": ["fire"]}, "'fire' is not known"),
        ("sqlite:///x.db", {"mischief": ["terminations"]}, "in PostgreSQL only"),
        ("sqlite:///x.db", {"mischief": ["no.module:fire"]}, "names nothing"),
        ("sqlite:///x.db", {"ledger": "everlog:no_such"}, "names nothing"),
    ],
)
def test_what_cannot_be_tortured_is_refused(
    url: str,
    options: dict[str, Any],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=problem):
        torture(url, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_torture_runs_from_a_shell_and_says_by_its_end_whether_it_was_survived(
    tmp_path: Path,
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        few = ["--seconds=0.6", "--processes=2", "--writers=4", "--readers=1", "--seed=7"]
        return subprocess.run(
            [sys.executable, "-m", "everlog.testing.torture", *arguments, *few],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    survived = run(sqlite_in(tmp_path), "--mischief=cancellations,pauses")
    assert survived.returncode == 0, survived.stdout + survived.stderr
    assert survived.stdout.startswith("torture survived; seed 7\n")
    assert "0 lost, 0 twice, 0 inverted, 0 gaps" in survived.stdout

    swallowing = "--ledger=tests.scenarios.faulty_ledgers:swallowing"
    failed = run(sqlite_in(tmp_path), "--mischief=none", swallowing)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "NOT SURVIVED" in failed.stdout

    refused = run("nowhere://", "--mischief=none")
    assert refused.returncode == 2
    assert refused.stderr.startswith("InvalidUrl: ")
