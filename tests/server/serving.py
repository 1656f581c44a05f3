"""`everlog serve` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from everlog.server import TokenFile
from everlog.server.tokens import Pattern
from tests.scenarios.processes import environment


class Serving:
    """A server that runs, and what it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("serving on "), (first, self._errors())
        self.url = first.split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Asks it to stop; returns its exit code, and what it has said."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=100)
        return self.process.returncode, out, errors

    def rss_kib(self) -> int:
        """Its memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("it does not run")

    def _errors(self) -> str:
        self.process.kill()
        return self.process.communicate(timeout=100)[1]


@contextmanager
def serving(*arguments: str, **variables: str) -> Generator[Serving]:
    """Runs a server as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "everlog", "serve", "--port", "0", *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Serving(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=100)


def secret_in(folder: Path) -> Path:
    """A file with a secret."""
    path = folder / "hub.secret"
    path.write_text("5e" * 32)
    path.chmod(0o600)
    return path


def tokens_in(folder: Path, count: int) -> tuple[Path, list[str]]:
    """A file with so many tokens that may do everything, and those."""
    path = folder / "hub.tokens"
    tokens = TokenFile(path)
    everything = [Pattern()]
    made = [tokens.create(f"t{i}", pull=everything, push=everything) for i in range(count)]
    return path, made


assert os.name == "posix"
