"""A layer between SQLite and its files, in which every call can be seen and altered.

Made with nothing but Python: the file system ("VFS") that the SQLite of the module `sqlite3` uses
by default is copied through ctypes, and the copy is registered as the default. Files opened from
then on pass their reads, writes, truncations and syncs through here, and so do the opening and the
deletion of files. Everything else goes where it always went, and the shared memory beside a WAL is
not seen at all.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Operation = Literal["open", "read", "write", "truncate", "sync", "delete"]

OK = 0
IOERR = 10
FULL = 13
CANTOPEN = 14
IOERR_READ = IOERR | 1 << 8
IOERR_WRITE = IOERR | 3 << 8
IOERR_FSYNC = IOERR | 4 << 8
IOERR_TRUNCATE = IOERR | 6 << 8
IOERR_DELETE = IOERR | 10 << 8

OPEN_CREATES = 0x4
OPEN_JOURNAL = 0x800
OPEN_WAL = 0x80000


@dataclass(slots=True, eq=False)
class Call:
    """A call of SQLite's to its file system."""

    operation: Operation
    path: str
    """The file, as SQLite names it; empty for a temporary one."""
    forward: Callable[[], int]
    """Does what is asked, and returns SQLite's code for how it went."""
    file: int = 0
    """Which open file: the address of SQLite's handle, used anew when it was closed."""
    flags: int = 0
    """Of an opening: how; of a sync: how; of a deletion: 1 if the directory is to be synced."""
    offset: int = 0
    """Where to read or write; of a truncation: the new size."""
    size: int = 0
    """How many bytes to read or write."""
    buffer: int = 0
    """Where they are."""
    write: Callable[[int, bytes], int] = lambda _offset, _data: IOERR
    """Of a call that writes: writes something else to the same file."""

    @property
    def data(self) -> bytes:
        """What is to be written."""
        return ctypes.string_at(self.buffer, self.size)


Watch = Callable[[Call], int]
"""Sees a call and answers it, as a rule with `call.forward()`. Called on SQLite's threads."""


class Unreachable(AssertionError):
    """The SQLite of the module `sqlite3` cannot be got at with ctypes."""


@contextmanager
def watched(watch: Watch, *operations: Operation) -> Generator[None]:
    """Lets `watch` answer the calls for these operations on files opened from now on.

    Whatever it raises is a failed call for SQLite, and raised when this ends. Files must be closed
    by then. Raises `Unreachable`.
    """
    library = _library()
    shim = _Shim(_default(library), watch, frozenset(operations) | {"open"})
    _kept.append(shim)
    assert library.sqlite3_vfs_register(ctypes.byref(shim.vfs), 1) == OK
    try:
        _probe(shim)
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(shim.vfs))
        shim.retire()
    if shim.problems:
        raise shim.problems[0]


_kept: list[object] = []
"""Nothing is ever freed: whoever holds a file open longer than he should still points to it."""


# --- SQLite's structures ---


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, of which we name what we touch."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("max_pathname", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("app_data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("delete", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 14),
    )


_METHODS = 18
"""Pointers in `sqlite3_io_methods` after iVersion, as of version 3 of the structure."""
_READ, _WRITE, _TRUNCATE, _SYNC = 2, 3, 4, 5
"""The places of xRead and so on among them, counting iVersion and xClose."""

_int, _pointer, _int64 = ctypes.c_int, ctypes.c_void_p, ctypes.c_int64
# Names as bare pointers: SQLite keeps parameters behind them, which a copy would lose.
_Open = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _pointer, _int, _pointer)
_Delete = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int)
_Transfer = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int, _int64)
_Truncate = ctypes.CFUNCTYPE(_int, _pointer, _int64)
_Sync = ctypes.CFUNCTYPE(_int, _pointer, _int)


@cache
def _library() -> ctypes.CDLL:
    import _sqlite3  # type: ignore[import-not-found,unused-ignore]

    # Where the module is a library of its own, its SQLite is found through it; else in the program.
    for name in (getattr(_sqlite3, "__file__", None), None):
        try:
            library = ctypes.CDLL(name)
            library.sqlite3_libversion.restype = ctypes.c_char_p
            version: bytes = library.sqlite3_libversion()
            library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
            library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
            library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), ctypes.c_int]
            library.sqlite3_vfs_unregister.argtypes = [ctypes.POINTER(_Vfs)]
        except (OSError, AttributeError):
            continue
        if version.decode() == sqlite3.sqlite_version:
            return library
    raise Unreachable(
        "the SQLite of this Python's sqlite3 hides its functions from ctypes, so neither power "
        "cuts nor I/O faults can be made here: run these tests with another build of Python"
    )


def _default(library: ctypes.CDLL) -> Any:
    found = library.sqlite3_vfs_find(None)
    if not found:
        raise Unreachable("SQLite has no default file system")
    return found


def _probe(shim: _Shim) -> None:
    """Raises `Unreachable` if what sqlite3 opens does not pass through here."""
    with suppress(sqlite3.OperationalError):
        sqlite3.connect("file:/everlog-no-such-file?mode=ro", uri=True).close()
    if not shim.reached:
        raise Unreachable("sqlite3 does not open its files through the SQLite that ctypes found")
    shim.armed = True


def _look_away(call: Call) -> int:
    return call.forward()


class _Shim:
    """A copy of a file system that asks `watch` first."""

    def __init__(self, real: Any, watch: Watch, operations: Collection[str]) -> None:
        self.problems: list[BaseException] = []
        self.reached = False
        self.armed = False
        self._real = real
        self._watch = watch
        self._operations = operations
        # By the address of the original methods.
        self._patched: dict[int, ctypes.Array[ctypes.c_void_p]] = {}
        self._callbacks: list[Any] = []
        self._paths: dict[int, str] = {}
        original: _Vfs = real.contents
        self._open = _Open(original.open or 0)
        self._delete = _Delete(original.delete or 0)
        self.vfs = _Vfs()
        # What an older version of the structure lacks behind its end is not ours to read.
        known = {1: 10, 2: 11}.get(original.version, 14)
        size = _Vfs.others.offset + known * ctypes.sizeof(ctypes.c_void_p)
        ctypes.memmove(ctypes.byref(self.vfs), ctypes.byref(original), size)
        self.vfs.next = None
        self.vfs.name = b"everlog-watched"
        self.vfs.open = self._pointer_to(_Open(self._opened))
        if "delete" in operations:
            self.vfs.delete = self._pointer_to(_Delete(self._deleted))

    def retire(self) -> None:
        """Lets go of who was watching, with all that he has noted."""
        self._watch = _look_away

    def _ask(self, call: Call) -> int:
        if not self.armed:
            return call.forward()
        try:
            return self._watch(call)
        except BaseException as error:  # ctypes would print it, and report success
            self.problems.append(error)
            return IOERR

    def _pointer_to(self, callback: Any) -> int | None:
        self._callbacks.append(callback)
        return ctypes.cast(callback, ctypes.c_void_p).value

    def _opened(self, _: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        self.reached = True
        path = "" if name is None else os.fsdecode(ctypes.string_at(name))
        methods = ctypes.cast(file, ctypes.POINTER(ctypes.c_void_p))

        def forward() -> int:
            result = int(self._open(self._real, name, file, flags, out))
            if result == OK and methods[0]:
                self._paths[file] = path
                methods[0] = ctypes.addressof(self._replaced(methods[0]))
            return result

        methods[0] = None  # SQLite does not close a file whose opening failed
        return self._ask(Call("open", path, forward, file=file, flags=flags))

    def _deleted(self, _: int, name: int, flags: int) -> int:
        def forward() -> int:
            return int(self._delete(self._real, name, flags))

        return self._ask(Call("delete", os.fsdecode(ctypes.string_at(name)), forward, flags=flags))

    def _replaced(self, methods: int) -> ctypes.Array[ctypes.c_void_p]:
        if methods not in self._patched:
            version = ctypes.cast(methods, ctypes.POINTER(ctypes.c_int))[0]
            known = {1: 12, 2: 16}.get(version, _METHODS)
            copy = (ctypes.c_void_p * (_METHODS + 1))()
            ctypes.memmove(copy, methods, (known + 1) * ctypes.sizeof(ctypes.c_void_p))
            self._patch(copy)
            self._patched[methods] = copy
        return self._patched[methods]

    def _patch(self, table: ctypes.Array[ctypes.c_void_p]) -> None:
        real_read = _Transfer(table[_READ] or 0)
        real_write = _Transfer(table[_WRITE] or 0)
        real_truncate = _Truncate(table[_TRUNCATE] or 0)
        real_sync = _Sync(table[_SYNC] or 0)

        def read(file: int, buffer: int, size: int, offset: int) -> int:
            def forward() -> int:
                return int(real_read(file, buffer, size, offset))

            path = self._paths[file]
            return self._ask(Call("read", path, forward, file=file, offset=offset, size=size))

        def write(file: int, buffer: int, size: int, offset: int) -> int:
            def forward() -> int:
                return int(real_write(file, buffer, size, offset))

            def write_other(other_offset: int, data: bytes) -> int:
                return int(real_write(file, _address_of(data), len(data), other_offset))

            call = Call("write", self._paths[file], forward, file=file, offset=offset, size=size)
            call.buffer, call.write = buffer, write_other
            return self._ask(call)

        def truncate(file: int, size: int) -> int:
            def forward() -> int:
                return int(real_truncate(file, size))

            return self._ask(Call("truncate", self._paths[file], forward, file=file, offset=size))

        def sync(file: int, flags: int) -> int:
            def forward() -> int:
                return int(real_sync(file, flags))

            return self._ask(Call("sync", self._paths[file], forward, file=file, flags=flags))

        for operation, place, callback in (
            ("read", _READ, _Transfer(read)),
            ("write", _WRITE, _Transfer(write)),
            ("truncate", _TRUNCATE, _Truncate(truncate)),
            ("sync", _SYNC, _Sync(sync)),
        ):
            if operation in self._operations:
                table[place] = self._pointer_to(callback)


def _address_of(data: bytes) -> int | None:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
