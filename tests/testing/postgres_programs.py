"""Programs that start a server, for tests that end them: `python -m` with this module and a name.

Each says what it does in lines of JSON, as soon as there is something to say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql import databases as databases  # now, while its file can be read

ROOT = Path(__file__).parents[2]


class Program:
    """One of the functions below, in a process of its own that never outlives the test."""

    def __init__(self, name: str, *arguments: object, **variables: str) -> None:
        path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, name, *map(json.dumps, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **variables},
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._stdin, self._stdout = self._popen.stdin, self._popen.stdout

    def hear(self) -> Any:
        """Returns what the program says next; None after its end."""
        line = self._stdout.readline()
        return json.loads(line) if line else None

    def go_on(self) -> int:
        """Lets a program that waits go on; returns its exit code."""
        self._stdin.close()
        return self._popen.wait()

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._stdin.close()
        self._stdout.close()


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def told_to_go_on() -> None:
    sys.stdin.read()


def serve(killed: bool) -> None:
    """Starts a server, kills it or not, and waits."""
    with postgres() as server:
        say({"pid": server.pid, "folder": str(server.log.parent), "url": server.url})
        if killed:
            server.kill()
        say("ready")
        told_to_go_on()


def fork() -> None:
    """Starts a server and forks. One child leaves the block; one stays longer than its parent."""
    with postgres() as server:
        say({"pid": server.pid, "folder": str(server.log.parent), "url": server.url})
        leaver = os.fork()
        if leaver == 0:
            return
        _, status = os.waitpid(leaver, 0)
        say({"leaver": os.waitstatus_to_exitcode(status), "up": answers(server)})
        if os.fork() == 0:
            say({"stayer": os.getpid()})
        told_to_go_on()


def as_user(user: int, binaries: str) -> None:
    """Starts, kills and starts a server as a user without any privilege."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    run_through(binaries)


def run_through(binaries: str | None) -> None:
    """Starts, kills and starts a server; says whose its files are and as whom its programs run."""
    # On the machine that goes on, what is written survives a kill without being synced.
    settings = {"synchronous_commit": "on"}
    programs = None if binaries is None else Path(binaries)
    with postgres(settings=settings, binaries=programs) as server:
        data = server.log.parent / "data"
        url = server.new_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()
        server.start()
        with psycopg.connect(url) as connection:
            [[answer]] = connection.execute("SELECT answer FROM kept").fetchall()
        say(
            {
                "answer": answer,
                "owner": data.stat().st_uid,
                "runs as": Path(f"/proc/{server.pid}").stat().st_uid if on_linux() else None,
                "folder": str(server.log.parent),
            }
        )


def on_linux() -> bool:
    return sys.platform.startswith("linux")


def answers(server: PostgresServer) -> bool:
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


if __name__ == "__main__":
    _, name, *arguments = sys.argv
    globals()[name](*map(json.loads, arguments))
