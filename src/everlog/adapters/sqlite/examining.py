"""Examining: what can be wrong with a file and the SQLite that holds it, beside its content."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from everlog.adapters.sqlite.connections import Place
from everlog.ports.examining import Finding

WAL_BYTES = 64 * 1024 * 1024
"""A WAL that is checkpointed at all stays below this."""
FEW_BYTES = 64 * 1024 * 1024
"""With so little room left, the next appends may be the last ones."""
LITTLE_ROOM = 0.02
"""The same, as a part of the disk."""

ELSEWHERE = {"nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "ncpfs", "afs", "fuse.sshfs"}
"""Kinds of file systems that are on another machine, whose locks or memory SQLite cannot share."""

_MOUNTS = Path("/proc/mounts")


def examine(connection: sqlite3.Connection, place: Place) -> list[Finding]:
    """Returns what is unsafe in the place, or will not last."""
    found: list[Finding] = []
    for look in (_build, _settings, _wal, _room, _permissions, _file_system):
        found += look(connection, place)
    return found


def _build(_: sqlite3.Connection, place: Place) -> Iterator[Finding]:
    if place.checkpoints_race:
        yield Finding(
            "note",
            "sqlite-build",
            f"this Python has SQLite {sqlite3.sqlite_version}, in which two programs that "
            "checkpoint one file at once can corrupt it",
            "everlog checkpoints under a lock of its own, so stores are safe; let no other program "
            "write to the file, and prefer SQLite 3.51.3, 3.50.7 or 3.44.6",
        )


def _settings(connection: sqlite3.Connection, place: Place) -> Iterator[Finding]:
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        yield Finding(
            "trouble",
            "journal",
            f"the file is in journal mode {mode!r}, and not in that with a WAL: some program has "
            "changed it",
            "let no other program write to the file, and open the store anew, which turns it back",
        )
    if place.durability == "relaxed":
        yield Finding(
            "warning",
            "durability",
            "the store is opened with durability=relaxed: a power cut may take the last appends "
            "back, newest first",
            "leave durability out of its URL where what was appended must stay",
        )


def _wal(_: sqlite3.Connection, place: Place) -> Iterator[Finding]:
    size = _size_of(place.path + "-wal")
    if size > WAL_BYTES:
        yield Finding(
            "warning",
            "wal",
            f"the WAL beside the file has {size // 1024 // 1024} MiB: something keeps it from "
            "being moved into the file",
            "look for a program that keeps a transaction open on the file, and end that; a store "
            "that is opened and closed then shortens it",
        )


def _room(_: sqlite3.Connection, place: Place) -> Iterator[Finding]:
    try:
        usage = shutil.disk_usage(os.path.dirname(place.path))
    except OSError:
        return
    if usage.free < max(FEW_BYTES, int(usage.total * LITTLE_ROOM)):
        yield Finding(
            "trouble" if usage.free < FEW_BYTES else "warning",
            "room",
            f"{usage.free // 1024 // 1024} MiB are left on the disk of the file",
            "make room; appends are refused when there is none, and reading goes on",
        )


def _permissions(_: sqlite3.Connection, place: Place) -> Iterator[Finding]:
    if os.name != "posix":
        return
    mode = stat.S_IMODE(os.stat(place.path).st_mode)
    if mode & 0o077:
        yield Finding(
            "warning",
            "permissions",
            f"others than the owner have rights on the file (mode {mode:04o})",
            f"chmod 600 {place.path}, and the same for -wal and -shm beside it, unless that is "
            "how processes of several users share it",
        )


def _file_system(_: sqlite3.Connection, place: Place) -> Iterator[Finding]:
    try:
        mounts = _MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    kind = kind_of_file_system(mounts, place.path)
    if kind in ELSEWHERE:
        yield Finding(
            "trouble",
            "network-disk",
            f"the file is on a network's file system ({kind}), where locks and shared memory do "
            "not hold between machines",
            "move the file to a local disk, or use PostgreSQL where several machines write",
        )


def kind_of_file_system(mounts: Iterable[str], path: str) -> str:
    """Returns the kind of the file system that a path is on, by the lines of `/proc/mounts`."""
    best, kind = "", ""
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        at = fields[1].encode().decode("unicode_escape") if "\\" in fields[1] else fields[1]
        inside = path == at or path.startswith(at.rstrip("/") + "/")
        if inside and len(at) >= len(best):  # what is mounted later hides what is below
            best, kind = at, fields[2]
    return kind


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
