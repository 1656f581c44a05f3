"""The processes of a server: found, gone, and none left when the process that tests is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from everlog.testing.postgresql.identity import Identity

# Says its pid on the pipe that it has as standard input, then becomes the program. It says so
# itself, before it begins: there is no moment in which it runs and the watcher knows nothing.
ANNOUNCED = 'echo $$ >&0; exec "$@" </dev/null'

# Reads the pid of what runs ("-": nothing) until all writers of the pipe are gone. SIGQUIT is
# PostgreSQL's immediate shutdown: no checkpoint, but shared memory is given back. SIGCONT, in case
# a test had stopped it.
WATCH = """
trap '' HUP INT TERM
pid=-
while read -r line; do pid=$line; done
if [ "$pid" != - ]; then
    kill -QUIT "$pid"
    kill -CONT "$pid"
    tries=0
    while kill -0 "$pid" && [ $tries -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
    kill -KILL "$pid"
fi
tries=0
until rm -rf "$1" || [ $tries -ge 100 ]; do sleep 0.1; tries=$((tries + 1)); done
[ ! -e "$1" ]
"""


class Watcher:
    """A shell that outlives this process, however it ends, and then ends the server of a folder.

    It waits for the end of a pipe that only this process holds open: the one signal of an end by
    SIGKILL that works on Linux and macOS, whoever the server runs as. (PR_SET_PDEATHSIG is Linux's
    alone, is forgotten with a change of user, and follows the thread that started the program.)
    The folder is its to remove in every case, so the ordinary end of a test shows that it works.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            ["/bin/sh", "-c", WATCH, "everlog-watcher", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the tests; they end the server in their order
        )
        self._owner = os.getpid()
        _watchers.add(self)

    @property
    def pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def start(
        self, command: list[str | Path], identity: Identity, *, folder: Path, log: int, **env: str
    ) -> subprocess.Popen[bytes]:
        """Starts a program of which the watcher knows; call `ended` when it was waited for."""
        return subprocess.Popen(  # noqa: S603 - a program of PostgreSQL
            ["/bin/sh", "-c", ANNOUNCED, "sh", *identity.prefix, *command],
            stdin=self.pipe,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # C: the log is in English, as we read it. Nothing of PG* bends a program to elsewhere.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **env},
            start_new_session=True,
            **identity.popen,
        )

    def ended(self) -> None:
        """Says that nothing runs any more: its pid may be another's now."""
        self.pipe.write(b"-\n")
        self.pipe.flush()

    def close(self) -> bool:
        """Lets it end the server and remove the folder; returns whether all is gone."""
        self.pipe.close()
        return self._process.wait() == 0

    def close_in_child(self) -> None:
        """Lets go of the pipe in a forked child: else the server lived on with it."""
        self.pipe.close()
        self._process.returncode = 0  # not a child of this process: nothing to wait for

    @property
    def is_ours(self) -> bool:
        """False in a forked child, which must leave the server alone."""
        return os.getpid() == self._owner


# Not `ps` everywhere: small images of Linux have none, and macOS has no /proc.
_HAS_PROC = Path("/proc/self/stat").exists()

_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _close_in_child() -> None:
    for watcher in list(_watchers):
        watcher.close_in_child()


if sys.platform != "win32":  # where no process forks
    os.register_at_fork(after_in_child=_close_in_child)


def descendants_of(pid: int) -> Iterator[int]:
    """Returns the pids of all processes below one. Those of a stopped process stay as they are."""
    children: dict[int, list[int]] = {}
    for child, parent in _pids_with_parents():
        children.setdefault(parent, []).append(child)
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        yield from below
        waiting += below


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that ended and that nobody has waited for does not."""
    if _HAS_PROC:
        # In a container without an init, orphans are never waited for: they stay as zombies.
        stat = _stat_of(pid)
        return stat is not None and stat[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _pids_with_parents() -> Iterator[tuple[int, int]]:
    if _HAS_PROC:
        for name in os.listdir("/proc"):
            stat = _stat_of(int(name)) if name.isdecimal() else None
            if stat is not None:
                yield int(name), int(stat[1])
    else:
        listed = subprocess.run(
            ["/bin/ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        for line in listed.splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)


def _stat_of(pid: int) -> list[str] | None:
    """Returns state, parent and so on of Linux's list; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
