"""A service in a process of its own, as the tour starts, talks to, stops and kills it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Service:
    """A module of this folder that runs."""

    def __init__(self, module: str, *arguments: str, **variables: str) -> None:
        """`variables`: of its environment, such as a token: no other user of the machine sees."""
        path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"examples.two_services.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **variables},
        )

    def hear(self) -> str:
        """Returns the next line that it says; nothing if it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, line: str) -> None:
        """Says a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def wait(self) -> int:
        """Waits for its end; returns its exit code, below 0 for a signal."""
        return self._process.wait(60)

    def stop(self) -> None:
        """Has it stop after what it is at."""
        self._process.communicate(timeout=60)

    def kill(self) -> None:
        """Ends it wherever it is, as `kill -9` does."""
        self._process.kill()
        self._process.communicate()
