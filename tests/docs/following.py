"""Follows pages to the letter, as a reader at a terminal does: files, changes, commands.

A page is followed by its blocks, in their order:

- `python`, with a first line `# name.py`: the file that is to be written
- `diff`, with a first line `--- name.py`: a change of that file
- `sh`: commands
- `console`: commands behind `$ `, each with what it says, which has to be what it really says
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
_MARK = "\x01"
_DIFFERS_EACH_TIME = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"),
    (r"\b[0-9a-f]{64}\b", "HASH"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\bin \d+\.\d\ds\b( \(\d:\d\d:\d\d\))?", "in SECONDS"),
]
_ENDED = r"^bash: line \d+: +\d+ (Terminated|Killed) .*\n"
"""What bash says of a job that was ended; on a terminal it does so in another way."""
_LOOKING = re.compile(r"everlog (show|fold|tail|streams|info|effects|subscriptions)\b")


@dataclass(frozen=True, slots=True)
class Write:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """A place in a file that the reader changes."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Run:
    """A command that the reader gives; `said` is what the page shows of its answer, if it does."""

    command: str
    said: str | None


Step = Write | Change | Run


def steps_of(page: Path) -> list[Step]:
    """Returns the steps of a page; a block that cannot be followed is an `AssertionError`."""
    steps: list[Step] = []
    for language, text in re.findall(
        r"^```([^\n]*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S
    ):
        assert language in _READERS, f"{page.name}: nobody can follow a block of {language!r}"
        steps += _READERS[language](text)
    return steps


def _writing(text: str) -> Iterator[Step]:
    name = re.match(r"# (\S+\.py)\n", text)
    assert name, f"the file has no name:\n{text}"
    yield Write(name[1], text)


def _changing(text: str) -> Iterator[Step]:
    first, *lines = text.splitlines(keepends=True)
    assert first.startswith("--- "), f"the file to be changed has no name:\n{text}"
    assert all(line[0] in " +-" for line in lines), text
    yield Change(
        first.removeprefix("--- ").strip(),
        "".join(line[1:] for line in lines if line[0] != "+"),
        "".join(line[1:] for line in lines if line[0] != "-"),
    )


def _commanding(text: str) -> Iterator[Step]:
    for command in re.findall(r"^.*<<'END'\n(?:.*\n)*?END$|^.+$", text.replace("\\\n", ""), re.M):
        yield Run(command, None)


def _answered(text: str) -> Iterator[Step]:
    assert text.startswith("$ "), text
    for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
        yield Run(command, said)


_READERS: Mapping[str, Callable[[str], Iterator[Step]]] = {
    "python": _writing,
    "diff": _changing,
    "sh": _commanding,
    "console": _answered,
}


class Reader:
    """Somebody in an empty folder, with a terminal."""

    def __init__(self, folder: Path, shell: subprocess.Popen[str], replaced: dict[str, str]):
        """Use `reader`. `replaced`: what of a page is another here, such as a port."""
        self.folder = folder
        self.ran: list[str] = []
        self._shell = shell
        self._replaced = replaced

    def follow(self, page: Path) -> None:
        """Does what a page says; raises `AssertionError` where it is not as the page says."""
        for step in steps_of(page):
            self.take(step)

    def take(self, step: Step) -> None:
        """Takes one step."""
        match step:
            case Write(name, text):
                file = self.folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._here(text), "utf-8")
            case Change(name, old, new):
                self._change(name, self._here(old), self._here(new))
            case Run(command, said):
                self._run(command, said)

    def _change(self, name: str, old: str, new: str) -> None:
        file = self.folder / name
        text = file.read_text("utf-8")
        assert text.count(old) == 1, f"{name} has no such place, or several:\n{old}"
        file.write_text(text.replace(old, new), "utf-8")

    def _run(self, command: str, said: str | None) -> None:
        self.ran.append(command)
        here = self._here(command)
        answer, code = self.say(here)
        deadline = time.monotonic() + PATIENCE_S
        # What happens in another process takes a moment: a reader looks again.
        while (
            said is not None
            and alike(answer) != alike(said)
            and _LOOKING.search(command)
            and self.jobs()
            and time.monotonic() < deadline
        ):
            answer, code = self.say(here)
        if said is None:
            assert code == 0, f"{command}\n{answer}"
            assert not answer or command.startswith("pip "), f"{command}\n{answer}"
            self._wait_for_server(here)
        else:
            shown = self._here(said)
            assert alike(answer) == alike(shown), f"{command} says\n{answer}and not\n{shown}"

    def say(self, command: str) -> tuple[str, int]:
        """Gives a command; returns what it says and its exit code."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\nprintf '{_MARK}%s\\n' $?\n")
        self._shell.stdin.flush()
        said = ""
        while _MARK not in said:
            line = self._shell.stdout.readline()
            assert line, f"the shell has ended: {command}\n{said}"
            said += line
        answer, _, code = said.rpartition(_MARK)
        return re.sub(_ENDED, "", answer, flags=re.M), int(code)

    def jobs(self) -> list[int]:
        """Returns the ids of what runs in the background."""
        return [int(id) for id in self.say("jobs -pr")[0].split()]

    def _wait_for_server(self, command: str) -> None:
        port = re.search(r"--port (\d+).*&$", command)
        deadline = time.monotonic() + PATIENCE_S
        while port and time.monotonic() < deadline:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", int(port[1]))) == 0:
                    return
                time.sleep(0.05)  # it starts in another process, as a reader sees by its log
        assert not port, f"nobody listens: {command}"

    def _here(self, text: str) -> str:
        for word, other in self._replaced.items():
            text = text.replace(word, other)
        return text


@contextmanager
def reader(
    folder: Path, *, replaced: Mapping[str, str] | None = None, installs: bool = False
) -> Generator[Reader]:
    """Lets somebody sit down in a folder; whatever still runs at the end of the block is ended.

    `installs`: `pip install` is what it is. Otherwise it lends the environment of the tests to the
    one that is active: the only command that does not do what it says.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EVERLOG", "PYTHON", "PYTEST", "DJANGO", "VIRTUAL_ENV"))
    }
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    someone = Reader(folder, shell, dict(replaced or {}))
    try:
        if not installs:
            lent = [place for place in sys.path if place.endswith(("site-packages", "/src"))]
            lending = shlex.join([str(Path(__file__).with_name("lending.py")), *lent, "--"])
            someone.say(f'pip() {{ python {lending} "$@"; }}')
        yield someone
    finally:
        if shell.poll() is None:
            for job in someone.jobs():
                os.kill(job, signal.SIGKILL)
        assert shell.stdin is not None
        shell.stdin.close()
        shell.wait(PATIENCE_S)
        assert shell.stdout is not None
        shell.stdout.close()


def a_free_port() -> str:
    """Returns a port of this machine that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def alike(text: str) -> str:
    """Returns a text in which nothing is left that is another one each time."""
    for pattern, word in _DIFFERS_EACH_TIME:
        text = re.sub(pattern, word, text)
    return text
