"""`everlog demo`: what it shows is what a ledger does, and what it leaves can be looked at."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog.cli import touring
from everlog.cli.command_line import main
from everlog.cli.showing import wide
from everlog.cli.touring import Step
from tests.cli.pseudo_terminal import in_words, on_terminal

Capture = pytest.CaptureFixture[str]

STEPS: dict[str, dict[str, object]] = {
    "append": {"positions": [1, 2, 3]},
    "conflict": {"expected": 4, "actual": 5},
    "fold": {"cents": 17_600, "cents_before": 57_500},
    "offline": {},
    "sync": {"new": 6, "pushed": 2},
    "late": {"position": 7, "outdated": True, "owner": "Jane Smith-Doe"},
    "subscription": {"handled": [5, 1]},
    "verify": {"records": 9},
    "damage": {"positions": [5]},
    "end": {"folder": None},
}

SAID = """\
 1  09:00  account:opened         Jane Doe
 3  09:00  money:deposited        75.00
the second one:  WrongVersion: stream 'account-1' is at version 5, expected 4
at 09:00:   Jane Doe, 575.00
6 new at the branch, 2 new at the bank
 7  09:15  account:owner-renamed  Jane Smith  outdated
the first run has handled 5 records, the second 1
9 records: nothing is wrong
position 5: its content or envelope does not match its hash
everlog --help"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert [*(tmp_path / "tmp").iterdir()] == [], "nothing is left behind"


def test_the_tour_tells_of_each_step_what_came_of_it(capsys: Capture) -> None:
    assert main(["demo"]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    place = 0
    for line in SAID.splitlines():
        assert line in out[place:]
        place = out.index(line, place) + len(line)
    assert "\x1b" not in out


def test_every_movement_of_money_is_told_so_that_the_sums_follow(capsys: Capture) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    told = re.findall(r"money:(deposited|withdrawn) +([0-9.]+)", out)
    total = sum(float(amount) * (1 if what == "deposited" else -1) for what, amount in told)
    assert f"fold    account-1: {total:.2f}" in out


def test_in_json_each_step_is_an_object(capsys: Capture) -> None:
    assert main(["demo", "--json"]) == 0
    found: list[dict[str, Any]] = [
        json.loads(line) for line in capsys.readouterr().out.splitlines()
    ]
    assert found == [{"step": name, **facts, "ok": True} for name, facts in STEPS.items()]


def test_on_a_terminal_it_has_colours_and_fits_into_80_columns(folder: Path) -> None:
    said = on_terminal("demo", cwd=folder, columns=80, variables={"TMPDIR": str(folder / "tmp")})
    assert "<bold>6  A late event</>\n" in said
    assert "<bold>Go on</>\n" in said
    plain = said
    for word in ("<bold>", "<dim>", "</>"):
        plain = plain.replace(word, "")
    assert max(map(wide, plain.splitlines())) <= 80
    assert in_words(said) == said


def test_what_is_kept_can_be_looked_at_by_what_it_names(folder: Path, capsys: Capture) -> None:
    assert main(["demo", "--keep", "a tour"]) == 0
    said = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "everlog tail sqlite:///a%20tour/bank.db" in said
    bank = "sqlite:///a%20tour/bank.db"
    assert f"everlog fold {bank} everlog.cli.touring:account account-1" in said
    assert main(["fold", bank, "everlog.cli.touring:account", "account-1"]) == 0
    assert capsys.readouterr().out == '{"owner":"Jane Smith-Doe","cents":20600}\n'
    assert main(["tail", bank, "-n", "1"]) == 0
    assert '{"cents":1000}' in capsys.readouterr().out
    assert main(["subscriptions", "status", bank]) == 0
    assert "balances\t" in capsys.readouterr().out
    assert main(["verify", "sqlite:///a%20tour/damaged.db"]) == 3
    assert "5\tits content" in capsys.readouterr().out


def test_files_that_are_there_stay_as_they_are(folder: Path, capsys: Capture) -> None:
    (folder / "tour").mkdir()
    (folder / "tour" / "branch.db").write_text("mine")
    assert main(["demo", "--keep", "tour", "--json"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert "branch.db exists; name another folder" in json.loads(error)["message"]
    assert [path.name for path in (folder / "tour").iterdir()] == ["branch.db"]


def test_a_file_is_no_folder_to_keep_a_tour_in(folder: Path, capsys: Capture) -> None:
    (folder / "tour").write_text("mine")
    assert main(["demo", "--keep", "tour"]) == 1
    assert capsys.readouterr().err == "everlog: folder tour cannot be made (File exists)\n"


def test_what_is_not_as_told_is_said_and_is_in_the_exit_code(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verify(_: Any) -> Step:
        return Step("verify", "Verify", "", (), {"records": 9, "ok": False})

    monkeypatch.setattr(touring, "_verify", verify)
    assert main(["demo"]) == 3
    assert capsys.readouterr().out.count("this is not as it should be") == 1
    assert main(["demo", "--json"]) == 3
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"] is False
