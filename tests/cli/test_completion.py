"""Completion: what a shell offers is what the command knows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from everlog.cli.command_line import COMMANDS, main, parser_of
from everlog.cli.completion import SHELLS, words_of


def script_of(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


OFFERED = [
    ("ver", ["verify"]),
    ("verify --", ["--color", "--help", "--json"]),
    ("verify --color ", ["always", "auto", "never"]),
    ("subscriptions r", ["rebuild", "remove", "retry", "rewind"]),
    ("subscriptions retry --s", ["--stream"]),
    ("export --format c", ["cloudevents", "cloudevents-batch"]),
    ("export log", ["log.ndjson"]),
    ("effects settle --as ", ["done", "drop", "retry"]),
    ("completion ", ["bash", "fish", "zsh"]),
    ("tail --json -", ["--after", "--color", "--follow", "--help", "--json", "--lines"]),
]


@pytest.mark.parametrize(("line", "expected"), OFFERED)
def test_bash_offers_what_can_follow(
    line: str, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "everlog.bash").write_text(script_of("bash", capsys), "utf-8")
    (tmp_path / "log.ndjson").touch()
    words = ["everlog", *line.split(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"source everlog.bash; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _everlog; "
            "printf '%s\\n' \"${COMPREPLY[@]}\"",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    offered = set(done.stdout.split())
    if line.endswith(" -"):
        assert {*expected} <= offered
    else:
        assert offered == {*expected}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_stands_in_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = script_of(shell, capsys)
    for words in words_of(parser_of([]), ()):
        for name, _ in words.commands:
            assert name in script
        for option in words.options:
            for name in option.names:
                assert (name if shell != "fish" else name.lstrip("-")) in script
    assert "kumquat" not in script
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"].strip() == script.strip()


def test_the_words_of_the_parser_are_those_of_the_table() -> None:
    first = next(words_of(parser_of([]), ()))
    assert [name for name, _ in first.commands] == list(COMMANDS)
    assert all(about for _, about in first.commands)


def test_only_the_command_that_is_asked_for_is_imported() -> None:
    [one] = next(words_of(parser_of(["verify"]), ())).commands
    assert one[0] == "verify"


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_a_shell_that_is_here_takes_its_script(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "_everlog"
    script.write_text(script_of(shell, capsys), "utf-8")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if shell == "fish":
        asked = f"source {script}; complete -C 'everlog subscriptions re'"
        done = subprocess.run(["fish", "-c", asked], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        offered = [line.split("\t")[0] for line in done.stdout.splitlines()]
        assert offered == ["rebuild", "remove", "retry", "rewind"]
