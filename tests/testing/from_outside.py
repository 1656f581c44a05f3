"""A look at a server from outside: what it answers, what it leaves, by other means than its own."""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

psutil: Any = importlib.import_module("psutil")  # it comes without types


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    """Returns the rows of a query on a connection of its own; none, if it has no rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def processes_in(folder: Path) -> list[str]:
    """Returns the processes that run in a folder, or for it."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                places = [process.cwd(), *process.cmdline()]
                if any(str(folder) in place for place in places):
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:  # it has just ended, or is another user's
            continue
    return found


def shared_memory_of(folder: Path) -> str:
    """Returns the id of the segment of System V that the running server of a folder has."""
    lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    _, segment = lines[6].split()
    return segment


def is_shared_memory(segment: str) -> bool:
    listed = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    return any(segment in line.split()[:3] for line in listed.splitlines())


def comes_true(condition: Callable[[], bool], timeout_s: float = 30) -> bool:
    """Waits until something is so, and returns whether it was in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
