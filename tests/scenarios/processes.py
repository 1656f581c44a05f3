"""Real processes for the scenarios: a program of `programs.py` in an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


def command(program: str, **arguments: Any) -> list[str]:
    """Returns the command line that runs a program."""
    return [sys.executable, "-P", "-m", "tests.scenarios.programs", program, json.dumps(arguments)]


def environment(**more: str) -> dict[str, str]:
    """Returns an environment in which a child imports what this process imports."""
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    return {**os.environ, "PYTHONPATH": path, **more}


class Process:
    """A running program. Talks by lines of JSON on its standard input and output.

    As a context manager it never outlives the test: what still runs at the end is killed.
    """

    def __init__(
        self,
        program: str,
        *,
        prefix: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        self._popen = subprocess.Popen(
            [*prefix, *command(program, **arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(**(variables or {})),
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def say(self, word: str) -> None:
        """Writes a line to the program."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(word + "\n")
        self._popen.stdin.flush()

    def hear(self) -> Any:
        """Returns the program's next line as JSON; None after the last one, or a torn one."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._popen.poll() is not None

    def kill(self) -> None:
        """Ends the program as `kill -9` does, and waits for its end."""
        self._popen.kill()
        self._popen.wait()

    def wait_until_stopped(self) -> None:
        """Waits until the program is stopped, by SIGSTOP."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"it ended, with {status}"

    def go_on(self) -> None:
        """Has a stopped program go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """Waits for the program to end by itself; returns its exit code."""
        return self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it died with something unread in its input
                pipe.close()
