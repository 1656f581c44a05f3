"""A data folder and the server on it: made, started, stopped, killed, removed."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from everlog.errors import CannotOpen, StorageFailed
from everlog.testing.postgresql.binaries import copied, major_version
from everlog.testing.postgresql.identity import find_identity
from everlog.testing.postgresql.processes import Watcher, descendants_of, is_alive

WAIT_S = 60.0
"""How long a server may take to come up, with what it recovers, or to go down."""


class Cluster:
    """A server in a temporary folder, on a port of 127.0.0.1 that it keeps."""

    def __init__(self, binaries: Path, settings: Mapping[str, str]) -> None:
        self.major = major_version(binaries)
        self.settings = dict(settings)
        self.port = unused_port()
        self._identity = find_identity()
        self._folder = Path(tempfile.mkdtemp(prefix="everlog-postgres-"))
        self._watcher = Watcher(self._folder)
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._came_up = False
        try:
            self._data.mkdir(mode=0o700)
            self._identity.own(self._folder, self._data)
            self.binaries = self._readable(binaries)
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> Path:
        """What the server said, in all its runs."""
        return self._folder / "log"

    @property
    def pid(self) -> int:
        """The postmaster's; raises `StorageFailed` while the server is down."""
        return self._running().pid

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def initialise(self, *, sync: bool, password: str | None) -> None:
        """Makes an empty cluster, in UTF-8 and in the order of code points."""
        file = self._folder / "password"
        options = ["--username=postgres", "--encoding=UTF8"]
        # PostgreSQL 17 has an order of its own, which knows upper and lower case of all letters.
        if self.major >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            options += ["--locale=C"]
        if password is None:
            options += ["--auth=trust"]
        else:
            file.touch(mode=0o600)
            file.write_text(password + "\n", encoding="utf-8")
            self._identity.own(file)
            options += ["--auth=scram-sha-256", f"--pwfile={file}"]
        if not sync:
            options += ["--no-sync"]
        self._run("initdb", f"--pgdata={self._data}", *options)
        file.unlink(missing_ok=True)

    def copy_from(self, port: int, *, sync: bool, password: str | None) -> None:
        """Makes a standby of a running server: a copy that goes on with what that one writes."""
        options = [
            "--no-password",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--write-recovery-conf",
        ]
        options += [] if sync else ["--no-sync"]
        where = f"host=127.0.0.1 port={port} user=postgres"
        secret = {} if password is None else {"PGPASSWORD": password}
        self._run(
            "pg_basebackup", f"--pgdata={self._data}", f"--dbname={where}", *options, **secret
        )

    def start(self) -> None:
        """Starts the server and returns when it accepts connections; does nothing if it runs.

        Where somebody else takes the port first, the first start takes another; a later one, which
        keeps the port, waits. Raises `CannotOpen` with the end of the log.
        """
        deadline = time.monotonic() + WAIT_S
        while not self.is_up and (said := self._try_to_start(deadline)) is not None:
            if not _will_pass(said) or time.monotonic() > deadline:
                raise CannotOpen(f"PostgreSQL did not start; the end of its log:\n{_end_of(said)}")
            if self._came_up:
                time.sleep(0.1)
            else:
                self.port = unused_port()
        self._came_up = True

    def stop(self) -> None:
        """Shuts it down, connections and all; does nothing if it is down."""
        if not self.is_up:
            self._reaped()
        elif not self._shut_down(signal.SIGINT, WAIT_S):
            raise StorageFailed(
                f"PostgreSQL did not stop within {WAIT_S:.0f} s; kill() it. The end of its log:\n"
                + _end_of(self.log.read_text("utf-8", "replace"))
            )

    def kill(self) -> None:
        """Ends every process of it at once, as `kill -9` does; returns when they are gone."""
        process = self._running()
        if process.poll() is None:
            # Stopped, it starts no process more, and the pids of those that end stay theirs.
            os.kill(process.pid, signal.SIGSTOP)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                everyone = [process.pid, *descendants_of(process.pid)]
                for pid in everyone:
                    os.kill(pid, signal.SIGKILL)
                process.wait()
                _wait_for_the_end_of(everyone)
            else:  # it has just ended by itself
                process.returncode = os.waitstatus_to_exitcode(status)
        self._reaped()
        self._forget_shared_memory()

    def close(self) -> None:
        """Ends what runs and removes the folder. In a forked child, does nothing."""
        if not self._watcher.is_ours:
            return
        try:
            # Immediately: what a checkpoint would write is about to be removed.
            if self.is_up and not self._shut_down(signal.SIGQUIT, 15):
                self.kill()
            self._reaped()
            self._forget_shared_memory()
        finally:
            gone = self._watcher.close()
        if not gone:
            raise StorageFailed(f"{self._folder} could not be removed; look what is in its way")

    def _readable(self, binaries: Path) -> Path:
        """Returns programs that whoever runs the server may run: where need be, copies."""
        try:
            subprocess.run(  # noqa: S603
                [*self._identity.prefix, binaries / "postgres", "--version"],
                capture_output=True,
                check=True,
                cwd="/",
                **self._identity.popen,
            )
        except (PermissionError, subprocess.CalledProcessError):
            return copied(binaries, self._folder)
        return binaries

    def _run(self, program: str, *arguments: str, **env: str) -> None:
        """Runs a program of PostgreSQL to its end; raises `CannotOpen` with what it said."""
        with (self._folder / program).open("w+b") as said:
            process = self._watcher.start(
                [self.binaries / program, *arguments],
                self._identity,
                folder=self._folder,
                log=said.fileno(),
                **env,
            )
            try:
                code = process.wait()
            except BaseException:  # Ctrl-C
                process.kill()
                process.wait()
                raise
            finally:
                self._watcher.ended()
            if code:
                said.seek(0)
                text = said.read().decode("utf-8", "replace")
                raise CannotOpen(f"{program} failed; it said:\n{_end_of(text)}")

    def _try_to_start(self, deadline: float) -> str | None:
        """Starts the server; returns None when it is up, or what it said before it ended."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # a path in a temporary folder is too long on macOS
            # Files in its folder, where they end with it. Others stay when it is killed.
            "dynamic_shared_memory_type": "mmap",
            **self.settings,
        }
        with self.log.open("ab") as log:
            before = log.tell()
            self._process = self._watcher.start(
                [
                    self.binaries / "postgres",
                    "-D",
                    self._data,
                    *(
                        part
                        for name, value in options.items()
                        for part in ("-c", f"{name}={value}")
                    ),
                ],
                self._identity,
                folder=self._folder,
                log=log.fileno(),
            )
        while self.is_up and not self._is_ready():
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.01)
        if self.is_up:
            return None
        self._reaped()
        return self.log.read_bytes()[before:].decode("utf-8", "replace")

    def _is_ready(self) -> bool:
        """Whether it accepts connections: it, and not another server on the port it was to have."""
        lines = self._lock_file()
        return len(lines) > 7 and int(lines[0]) == self.pid and lines[7].strip() == "ready"

    def _shut_down(self, how: signal.Signals, timeout_s: float) -> bool:
        """Asks it to go down; returns whether it did in time."""
        process = self._running()
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # in case a test had stopped it in its steps
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._reaped()
        return True

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StorageFailed("the server is down; start() it")
        return self._process

    def _reaped(self) -> None:
        """Forgets a process that has ended: its pid may be another's now."""
        if self._process is not None:
            self._process = None
            self._watcher.ended()

    def _forget_shared_memory(self) -> None:
        """Gives back the one segment that outlives a killed server; its start would do the same."""
        lines = self._lock_file()
        if len(lines) > 6 and len(numbers := lines[6].split()) == 2:
            remove = 0  # IPC_RMID, on Linux and macOS
            ctypes.CDLL(None).shmctl(int(numbers[1]), remove, None)

    def _lock_file(self) -> list[str]:
        """Returns the lines of postmaster.pid: 1 pid, 7 key and id of the segment, 8 status."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def unused_port() -> int:
    """Returns a port by chance, below those that the system gives to connections.

    While a server is down, one of its clients that tries to connect could be given the server's
    port as its own, and so connect to itself.
    """
    try:
        given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        given = 32768
    lowest = 15000
    return lowest + secrets.randbelow((given if given > lowest + 1000 else 60000) - lowest)


def _will_pass(log: str) -> bool:
    """Whether a start failed by what passes: a taken port, a backend that has not ended yet."""
    return "Address already in use" in log or "is still in use" in log


def _end_of(log: str) -> str:
    return "\n".join(log.splitlines()[-20:]) or "(it said nothing)"


def _wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while left := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            raise StorageFailed(f"processes {left} of PostgreSQL did not end when killed")
        time.sleep(0.002)
