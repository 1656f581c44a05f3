"""What a run was made on and with: a figure says nothing without it."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.sides import PEERS

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("everlog", "pydantic", "msgspec", *(package for package, _ in PEERS.values()))
DRIVERS = ("psycopg", "psycopg-binary", "asyncpg", "psycopg2-binary", "sqlalchemy")
"""Of PostgreSQL, which one of those brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and when."""

    date: str
    commit: str
    """Short; with `-changed` behind it if files of the checkout were not committed."""
    cpu: str
    cores: int
    memory_gb: float
    system: str
    filesystem: str
    sync_us: float
    """How long it takes to append 4 KiB to a file and sync it, in microseconds (median of 50)."""
    load: float
    """Processes that wanted a core in the minute before."""
    python: str
    sqlite: str
    server: dict[str, str]
    """What a PostgreSQL server says about itself; empty where none was asked."""
    libraries: dict[str, str]


def look(server: Mapping[str, str] | None = None) -> Machine:
    """Returns what can be found out about this machine; `server`: what one says of itself."""
    libraries = (*LIBRARIES, *(DRIVERS if server else ()))
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=_commit(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        filesystem=_filesystem(Path(tempfile.gettempdir())),
        sync_us=_sync_us(),
        load=round(os.getloadavg()[0], 2),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        sqlite=sqlite3.sqlite_version,
        server=dict(server or {}),
        libraries={name: found for name in libraries if (found := _version(name))},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short=9", "HEAD")
        changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("-changed" if changed else "")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _filesystem(folder: Path) -> str:
    """Returns the type of the file system that the logs are on, as Linux tells it."""
    found, longest = "unknown", -1
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for mount in mounts:
        _, point, kind, *_ = mount.split(" ")
        if folder.resolve().is_relative_to(point) and len(point) > longest:
            found, longest = kind, len(point)
    return found


def _sync_us() -> float:
    took: list[float] = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    return round(statistics.median(took), 1)
