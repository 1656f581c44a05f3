"""An interpreter that has imported what every run over a mutant needs, and starts each as its fork.

Importing pytest and the drivers takes longer than most runs. Of this library it imports nothing:
that comes from the copy. A run is a process of its own, as if its interpreter had just started.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]

SHARED = (
    *("asyncio", "concurrent.futures.thread", "sqlite3", "pytest", "hypothesis.strategies"),
    *("msgspec", "psycopg.connection_async", "psycopg_pool", "pydantic.type_adapter"),
)
"""What most runs import, besides what is ours. Not the plugins that a run names: it loads them."""


class Warm:
    """Starts runs of pytest, one after another."""

    def __init__(self) -> None:
        self._popen = _started()

    def pytest(
        self,
        arguments: Sequence[str],
        *,
        path: Sequence[Path],
        environ: Mapping[str, str],
        said: Path,
    ) -> int:
        """Runs pytest to its end, in an environment of just these variables; returns its exit code.

        - `path`: where it and its children import from first
        - `said`: the file for all that it prints
        """
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        environ = {**environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        self._popen.stdin.write(json.dumps([list(arguments), dict(environ), str(said)]) + "\n")
        self._popen.stdin.flush()
        try:
            code = self._popen.stdout.readline()
        except BaseException:  # a time-out: its answer would be taken for that of the next run
            self._end()
            self._popen = _started()
            raise
        assert code, "the interpreter that starts runs has ended"
        return int(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def main() -> None:
    """Answers each line on the standard input with the exit code of a run."""
    for name in SHARED:
        importlib.import_module(name)
    assert not any(name.partition(".")[0] == "everlog" for name in sys.modules)
    # What is here stays: no collector of a fork has to look at it, and so to copy its memory.
    gc.collect()
    gc.freeze()

    for line in sys.stdin:
        arguments, environ, said = json.loads(line)
        pid = os.fork()
        if not pid:
            os.environ.clear()
            os.environ.update(environ)
            sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environ
            sys.path[:0] = environ["PYTHONPATH"].split(os.pathsep)
            nothing = os.open(os.devnull, os.O_RDONLY)
            file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number, descriptor in enumerate((nothing, file, file)):
                os.dup2(descriptor, number)
            sys.exit(importlib.import_module("pytest").main(arguments))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
