"""As on Windows: takes from this Python, on any system, what Windows has not.

The standard library and other people's packages have a Windows of their own, and are left as they
are: what runs in this guise has run before without it, so that they are imported by then, and then
everlog is imported anew.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
import sys
from types import ModuleType
from typing import Any

MODULES = [
    "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios",
    "tty", "_posixsubprocess", "_posixshmem",
]  # fmt: skip
"""Of the standard library, those that Windows has not."""

NAMES: dict[ModuleType, list[str]] = {
    os: [
        "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WIFSTOPPED", "WNOHANG",
        "WUNTRACED", "chown", "chroot", "fchown", "fdatasync", "fork", "forkpty", "getegid",
        "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg", "lockf", "mkfifo", "nice",
        "pread", "pwrite", "register_at_fork", "setsid", "sync", "uname", "wait",
    ],
    signal: ["SIGCONT", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2", "alarm"],
    socket: ["AF_UNIX", "SO_REUSEPORT"],
}  # fmt: skip
"""Names in modules that Windows has, and without which it has them."""


def put_on() -> None:
    """Has this process look like one on Windows to what is imported from now on; forgets ours."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "everlog"]:
        del sys.modules[name]
    locking = _msvcrt()  # made of the very fcntl that goes
    _pairs_of_sockets()
    modules: dict[str, Any] = sys.modules
    for name in MODULES:
        modules[name] = None  # so that to import it fails
    modules["msvcrt"] = locking
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    _open_and_sync_as_there()
    _no_signal_handlers()
    sys.platform = "win32"


def is_on() -> bool:
    """Whether this process looks so."""
    return sys.platform == "win32"


def _msvcrt() -> ModuleType:
    """Returns the module by which files are locked there."""
    import fcntl

    found: Any = ModuleType("msvcrt")
    found.LK_LOCK, found.LK_NBLCK, found.LK_UNLCK = 1, 2, 0

    def locking(descriptor: int, mode: int, count: int) -> None:
        if mode == found.LK_UNLCK:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if mode == found.LK_LOCK:
                raise OSError(errno.EDEADLK, "Resource deadlock avoided") from None
            raise PermissionError(errno.EACCES, "Permission denied") from None

    found.locking = locking
    module: ModuleType = found
    return module


def _pairs_of_sockets() -> None:
    """Event loops make one; there it is of another family."""
    pair, family = socket.socketpair, socket.AF_UNIX

    def socketpair(*_: Any) -> tuple[socket.socket, socket.socket]:
        return pair(family)

    sockets: Any = socket
    sockets.socketpair = socketpair


def _open_and_sync_as_there() -> None:
    """Folders cannot be opened there, and only what was opened to be written to is synced."""
    really_open, really_sync = os.open, os.fsync
    read_only = set[tuple[int, int]]()

    def open(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        descriptor = really_open(path, flags, *arguments, **more)
        if flags & (os.O_WRONLY | os.O_RDWR):
            read_only.discard(_file(descriptor))
        else:
            read_only.add(_file(descriptor))
        return descriptor

    def fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        if _file(descriptor) in read_only or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        really_sync(descriptor)

    system: Any = os
    system.open, system.fsync = open, fsync


def _file(descriptor: int) -> tuple[int, int]:
    return descriptor, os.fstat(descriptor).st_ino


def _no_signal_handlers() -> None:
    def add_signal_handler(*_: Any) -> None:
        raise NotImplementedError

    loop: Any = asyncio.new_event_loop()
    loop.close()
    type(loop).add_signal_handler = add_signal_handler
