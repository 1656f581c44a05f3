"""The command on a terminal: a pseudo terminal of a given width, in a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from everlog.cli.showing import COLORS
from tests.scenarios.processes import environment

LIMIT_S = 100.0


class Terminal:
    """A command that runs on a terminal; ended with the block, whatever happens."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        columns: int = 100,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        variables = variables or {}
        inherited = environment(**{"TERM": "xterm", **variables})
        for name in ("NO_COLOR", "COLUMNS", "LINES", "EVERLOG_URL", "EVERLOG_EVENTS"):
            if name not in variables:
                inherited.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "everlog", *arguments],
            cwd=cwd,
            env=inherited,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,  # with this terminal, whose Ctrl-C it hears
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._ours = ours
        self._said = b""
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)

    @property
    def said(self) -> str:
        """Everything that it has written so far."""
        return self._said.decode().replace("\r\n", "\n")

    def read_until(self, is_so: Callable[[str], bool]) -> str:
        """Reads until what was said is as it is to be; fails if it never is."""
        deadline = time.monotonic() + LIMIT_S
        while not is_so(self.said):
            assert not self._ended, f"it ended, and said {self.said!r}"
            assert time.monotonic() < deadline, f"it has said {self.said!r}"
            self._read(1.0)
        return self.said

    def press(self, keys: bytes) -> None:
        """Types."""
        os.write(self._ours, keys)

    def end(self) -> tuple[str, int]:
        """Waits for its end; returns all that it has said, and its exit code."""
        deadline = time.monotonic() + LIMIT_S
        while not self._ended:
            assert time.monotonic() < deadline, f"it does not end, and has said {self.said!r}"
            self._read(1.0)
        return self.said, self._process.wait(timeout=LIMIT_S)

    def _read(self, timeout_s: float) -> None:
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return
        try:
            found = os.read(self._ours, 65536)
        except OSError:  # of a terminal that nobody has open any more
            found = b""
        self._said += found
        self._ended = not found


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def on_terminal(
    *arguments: str, cwd: Path, columns: int = 100, variables: Mapping[str, str] | None = None
) -> str:
    """Returns what a command says on a terminal, with its colours in words."""
    with Terminal(*arguments, cwd=cwd, columns=columns, variables=variables) as terminal:
        said, code = terminal.end()
    assert code == 0, said
    return in_words(said)


def in_words(said: str) -> str:
    """Returns what was said, with colours in words."""
    names = {number: name for name, number in COLORS.items()}
    said = re.sub(r"\x1b\[0m", "</>", said)
    return re.sub(r"\x1b\[(\d+)m", lambda match: f"<{names[match[1]]}>", said)
