"""The processes of a torture, as seen by the one that starts and ends them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from everlog.testing.torture.plan import Role

WORKER = "everlog.testing.torture.worker"


class Process:
    """A running role. It is spoken to by lines on its standard input, and answers by lines of JSON.

    As a context manager it never outlives the torture: what still runs at the end is killed.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.was_killed = False
        """Whether it was `kill` that ended it."""
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors = role.file("errors")
        # -P: the folder that a user happens to be in is no place to import from.
        with self._errors.open("wb") as errors:
            self._popen = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours
                [sys.executable, "-P", "-m", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(),
            )
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        # Not as an argument: a URL may hold a password, and arguments can be seen by everybody.
        self.say(role.to_json())

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    @property
    def errors(self) -> str:
        """The end of what it wrote to its standard error."""
        return self._errors.read_text("utf-8", errors="replace")[-2_000:].strip()

    def say(self, line: str) -> None:
        """Writes a line to it; one that has died is told nothing."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.write(line + "\n")
            self._popen.stdin.flush()

    def hear(self, *, timeout_s: float) -> Any:
        """Returns what it says next; None if it has ended, or says nothing for so long."""
        try:
            line = self._said.get(timeout=timeout_s)
        except queue.Empty:
            return None
        return None if line is None else json.loads(line)

    def pause(self) -> None:
        """Stops it where it is, until it is told to go on."""
        self._popen.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets a stopped one go on."""
        self._popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it as `kill -9` does, and waits for its end."""
        self.was_killed = self.running
        self._popen.kill()
        self._popen.wait()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            if line.endswith("\n"):
                self._said.put(line)
        self._said.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._listening.join()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it died with something unread in its input
                pipe.close()


def _environment() -> dict[str, str]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path}
