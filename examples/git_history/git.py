"""Asking git: as a child process without a shell, which runs nothing but git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 256 * 1024

# A repository is a stranger's: its configuration may name programs to be started (pagers, diff
# drivers, hooks, file system monitors, transports), and other settings would change the answers.
SETTINGS = {
    "core.attributesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.quotePath": "false",
    "diff.renameLimit": "1000",
    "log.showSignature": "false",
    "protocol.allow": "never",
}
KEPT_VARIABLES = ("GIT_CONFIG", "GIT_EXEC_PATH")


class GitProblem(Exception):
    """git cannot answer. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Git:
    """A repository, and the one way in which git is asked about it."""

    program: str
    folder: str
    """Where git's own files lie: `.git`, or a bare repository."""
    name: str
    """What to call it."""
    shallow: bool

    @staticmethod
    def of(place: str) -> Git:
        """Finds the repository that a folder is in; raises `GitProblem` if there is none."""
        program = shutil.which("git")
        if program is None:
            raise GitProblem("git is not installed, or not on the PATH")
        folder = os.path.abspath(place)
        if not os.path.isdir(folder):
            raise GitProblem(f"{place} is not a folder")
        asked = [
            program,
            *_settings(),
            "rev-parse",
            "--absolute-git-dir",
            "--is-shallow-repository",
        ]
        done = subprocess.run(
            asked, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            if "dubious ownership" in said:
                raise GitProblem(
                    f"{place} belongs to another user, and git refuses it; if you trust it: "
                    f"git config --global --add safe.directory {folder}"
                )
            if "not a git repository" in said:
                raise GitProblem(f"{place} is not in a git repository")
            raise GitProblem(f"git cannot read {place}: {_first_line(said)}")
        found, shallow = done.stdout.removesuffix(b"\n").rsplit(b"\n", 1)
        at = Path(os.fsdecode(found))
        shown = at.parent if at.name == ".git" else at
        return Git(program, str(at), str(shown), shallow == b"true")

    def ask(self, *arguments: str) -> bytes | None:
        """Returns what git answers, None where it answers no (exit code 1)."""
        done = subprocess.run(
            self._command(*arguments),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if done.returncode == 1:
            return None
        if done.returncode:
            raise GitProblem(
                f"git {arguments[0]}: {_first_line(done.stderr.decode(errors='replace'))}"
            )
        return done.stdout

    def stream(self, *arguments: str, lines: Iterable[str]) -> Iterator[bytes]:
        """Gives git lines to read, and yields its answer, as it comes, in NUL-separated parts."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as complaints:
            given.writelines(f"{line}\n".encode() for line in lines)
            given.seek(0)
            child = subprocess.Popen(
                self._command(*arguments),
                env=_environment(),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
            assert child.stdout is not None
            try:
                rest = b""
                # Not read(): it would wait for a whole block, and not give what is there.
                while block := os.read(child.stdout.fileno(), READ_BYTES):
                    *parts, rest = (rest + block).split(b"\0")
                    yield from parts
                if rest:
                    yield rest
            except GeneratorExit:
                child.kill()  # nobody wants the rest
                raise
            finally:
                child.stdout.close()
                code = child.wait()
            if code:
                complaints.seek(0)
                said = complaints.read().decode(errors="replace")
                raise GitProblem(f"git {arguments[0]}: {_first_line(said) or f'exit code {code}'}")

    def _command(self, *arguments: str) -> list[str]:
        # As if bare: the files of the working tree, such as .gitattributes, then have no say in
        # what an old commit was.
        where = [f"--git-dir={self.folder}", "--bare", "--no-replace-objects"]
        return [self.program, *_settings(), *where, *arguments]


def _settings() -> list[str]:
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return ["--no-pager", *settings]


def _environment() -> dict[str, str]:
    """Returns the environment without what points git elsewhere; it asks nobody anything."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(KEPT_VARIABLES)
    }
    return {
        **kept,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _first_line(text: str) -> str:
    """Returns the first line that says why, as a person may read it."""
    lines = text.strip().splitlines() or [""]
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    first = fatal[0] if fatal else lines[0]
    return "".join(char if char.isprintable() else "\ufffd" for char in first)
