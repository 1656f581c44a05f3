"""Counting the syncs of a process: what it asks of the disk before it says that something is kept.

Three counters, from the outermost inwards; each is used where it works:

- `strace`, which sees the system calls from another process
- a preloaded library between SQLite and the C library, built by the machine's compiler
- a shim under SQLite, between it and its files, made with nothing but Python
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faulty_disk import vfs
from tests.scenarios.processes import Process

Counter = Callable[[Path, int, str], int]
"""Runs so many appends with a durability in a new file; returns the syncs of the whole process."""


def usable(tmp_path: Path) -> dict[str, Counter]:
    """Returns the counters that work on this machine, by name."""
    found: dict[str, Counter] = {}
    if _strace_works(tmp_path):
        found["strace"] = _by_strace
    library = _build(tmp_path)
    if library is not None:

        def by_preload(path: Path, appends: int, durability: str) -> int:
            return _by_preload(library, path, appends, durability)

        found["preload"] = by_preload
    with suppress(vfs.Unreachable), count_vfs_syncs():
        found["shim"] = _by_shim
    return found


def _run(
    program: str,
    path: Path,
    appends: int,
    durability: str,
    *,
    prefix: tuple[str, ...] = (),
    variables: dict[str, str] | None = None,
) -> object:
    """Runs a program to its end and returns the last thing that it said."""
    with Process(
        program,
        prefix=prefix,
        variables=variables,
        path=str(path),
        appends=appends,
        durability=durability,
    ) as process:
        position = process.hear()
        assert position == appends
        process.say("done")
        last = process.hear()
        assert process.wait() == 0
    return last


# --- strace ---


def _strace_works(tmp_path: Path) -> bool:
    strace = shutil.which("strace")
    if strace is None:
        return False
    probe = [strace, "-f", "-qq", "-o", str(tmp_path / "probe"), sys.executable, "-c", ""]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _by_strace(path: Path, appends: int, durability: str) -> int:
    trace = path.with_name(path.name + ".trace")
    calls = "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs"
    prefix = ("strace", "-f", "-qq", "-e", calls, "-o", str(trace))
    _run("commit", path, appends, durability, prefix=prefix)
    # A call that another thread interrupts takes two lines; only one of them has its name and "(".
    return len(re.findall(r"^\d+ +(?:fsync|fdatasync)\(", trace.read_text(), re.MULTILINE))


# --- preload ---

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void note(void) {
    int file = open(getenv("COUNT_SYNCS_IN"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (file >= 0) { if (write(file, ".", 1) != 1) abort(); close(file); }
}
int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    note();
    return real(fd);
}
int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    note();
    return real(fd);
}
"""


def _build(tmp_path: Path) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    source, library = tmp_path / "count.c", tmp_path / "count.so"
    source.write_text(_SOURCE)
    build = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    built = subprocess.run(build, capture_output=True, check=False)
    return library if built.returncode == 0 else None


def _by_preload(library: Path, path: Path, appends: int, durability: str) -> int:
    notes = path.with_name(path.name + ".notes")
    notes.touch()
    variables = {"LD_PRELOAD": str(library), "COUNT_SYNCS_IN": str(notes)}
    _run("commit", path, appends, durability, variables=variables)
    return notes.stat().st_size


# --- the shim under SQLite ---


def _by_shim(path: Path, appends: int, durability: str) -> int:
    counted = _run("commit_counting", path, appends, durability)
    assert isinstance(counted, int)
    return counted


@contextmanager
def count_vfs_syncs() -> Generator[Callable[[], int]]:
    """Counts the syncs that SQLite asks for in this process, in files opened from now on."""
    count = 0

    def watch(call: vfs.Call) -> int:
        nonlocal count
        count += call.operation == "sync"
        return call.forward()

    with vfs.watched(watch, "sync"):
        yield lambda: count
