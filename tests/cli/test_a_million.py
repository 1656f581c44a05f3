"""A million records through the command line, in memory that stays flat."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, to
from tests.cli.logs import EmailSet
from tests.scenarios.processes import environment

MANY, FEW = 1_000_000, 100_000
STREAMS = 10_000
CALL = 10_000
FLAT_MB = 40
"""By so much more memory, at most, are ten times as many records dealt with."""


async def make(path: Path, count: int) -> None:
    """Makes a log of so many records in many streams."""
    async with EventStore.open(path, events=[EmailSet], durability="relaxed") as store:
        for start in range(0, count, CALL):
            await store.append_many(
                [
                    to(f"user-{number % STREAMS}", EmailSet(f"user-{number}@example.com"))
                    for number in range(start, start + CALL)
                ]
            )


def run(*arguments: str, cwd: Path) -> tuple[Any, float]:
    """Returns what a command answers, and how many MB it had at most."""
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "everlog", *arguments, "--json"],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    used_mb = usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    print(f"{arguments[0]}: {used_mb:.0f} MB, {time.monotonic() - begun:.0f} s")
    return answer, used_mb


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_million_records_are_exported_imported_and_verified_in_flat_memory(
    tmp_path: Path,
) -> None:
    peaks: dict[int, list[float]] = {}
    for count in (FEW, MANY):
        asyncio.run(make(tmp_path / f"{count}.db", count))
        log, copy, file = f"sqlite:///{count}.db", f"sqlite:///copy-{count}.db", f"{count}.ndjson"
        exported, export_mb = run("export", log, file, cwd=tmp_path)
        assert exported == {"records": count, "position": count}
        imported, import_mb = run("import", copy, file, cwd=tmp_path)
        assert imported == {"stored": count, "known": 0}
        verified, verify_mb = run("verify", copy, cwd=tmp_path)
        assert (verified["ok"], verified["records"]) == (True, count)
        peaks[count] = [export_mb, import_mb, verify_mb]
    for few, many in zip(peaks[FEW], peaks[MANY], strict=True):
        assert many < few + FLAT_MB, peaks
