"""`docs/how-to/command-line.md` is true: its sessions say what stands there, one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from everlog.cli import exits
from everlog.cli.command_line import COMMANDS

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "command-line.md"
TEXT = PAGE.read_text("utf-8")
RUNS = {"python", "console"}
MARK = "\x01"


def alike(text: str) -> str:
    """Returns a text in which nothing is left that is another one each time."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
    text = re.sub(r"[0-9a-f]{64}", "HASH", text)
    return re.sub(r"bytes\t\d+", "bytes\tMANY", text)


def sessions() -> list[tuple[str, str]]:
    """Returns the commands of the page, each with what stands below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", TEXT, re.M | re.S):
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            found.append((command, said))
    return found


def test_the_sessions_of_the_page_say_what_stands_there(tmp_path: Path) -> None:
    assert TEXT.count("```python") == 1
    [program] = re.findall(r"^```python\n(# users\.py\n.*?)^```", TEXT, re.M | re.S)
    (tmp_path / "users.py").write_text(program, "utf-8")
    expected = sessions()
    assert len(expected) > 20
    script = "".join(
        f"printf '{MARK}'; (exit $last)\n{command} 2>&1\nlast=$?\n" for command, _ in expected
    )
    environment = {name: value for name, value in os.environ.items() if "EVERLOG" not in name}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        ["bash", "-c", f"last=0\n{script}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.stderr == ""
    answers = done.stdout.split(MARK)[1:]
    for (command, said), answer in zip(expected, answers, strict=True):
        assert alike(answer) == alike(said), command


def test_the_page_names_every_command_and_exit_code() -> None:
    for command in COMMANDS:
        assert f"`{command}" in TEXT, command
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.M)}
