"""A lock between processes, on a file beside the ledger."""

from __future__ import annotations

import os
import random
import sys
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager

from everlog.errors import CannotOpen, LedgerBusy


class FileLock:
    """An exclusive lock on a side file. It ends with its process, however that ends."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        _open_locks.add(self)

    @contextmanager
    def held(self, timeout_s: float) -> Generator[None]:
        """Holds the lock; raises `LedgerBusy` if it is not to be had in time."""
        self.take(timeout_s)
        try:
            yield
        finally:
            self.release()

    def take(self, timeout_s: float) -> None:
        """Takes the lock; raises `LedgerBusy` if it is not to be had in time."""
        if _try_lock(self._fd):
            return
        deadline = time.monotonic() + timeout_s
        pause_s = 0.0002
        while not _try_lock(self._fd):
            if time.monotonic() > deadline:
                raise LedgerBusy(
                    f"another process held {self._path} for over {timeout_s} s; "
                    "look for one that is stopped in the middle of a write, then try again"
                )
            time.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 1.5, 0.01)

    def release(self) -> None:
        """Gives the lock back."""
        _unlock(self._fd)

    def close(self) -> None:
        """Lets go of the file. It stays: deleting it would let two processes hold two locks."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock_beside(path: str) -> FileLock:
    """Returns the lock of a database file; raises `CannotOpen` where it cannot be."""
    try:
        return FileLock(path + "-lock")
    except OSError as error:
        raise CannotOpen(
            f"{path}-lock cannot be opened or created ({error.strerror}); "
            "check that it is an ordinary file, and the directory's permissions"
        ) from error


_open_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _close_in_child() -> None:
    # A forked child shares the lock itself: it would hold it on after its parent was killed.
    for lock in list(_open_locks):
        lock.close()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)

    os.register_at_fork(after_in_child=_close_in_child)
