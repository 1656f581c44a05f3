"""`everlog print` and `everlog schema`: what they do, how they end, what they tell."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.cli.command_line import main
from everlog.testing import PostgresServer, record_of
from tests.evolution.old_and_new import FIRST, By, Noted, Placed1, Sent1
from tests.printing.shop import write
from tests.scenarios.processes import environment

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVERLOG_URL", raising=False)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before


def test_a_session_of_printing_changing_and_checking(folder: Path, capsys: Capture) -> None:
    write(
        folder / "events", {"created.json": {"type": "user:created", "data": {"email": "string"}}}
    )
    printing = ["print", "events", "--out", "shop/events.py", "--typescript", "web/events.ts"]
    assert main([*printing, "--check"]) == 1
    assert capsys.readouterr() == (
        "",
        "everlog: not what the configurations print: shop/events.py, web/events.ts, "
        "events/events.lock.json; run the same command without --check\n",
    )
    assert main(printing) == 0
    assert capsys.readouterr().out == (
        "printed shop/events.py\nprinted web/events.ts\nprinted events/events.lock.json\n"
    )
    for again in (printing, [*printing, "--check"]):
        assert main(again) == 0
        assert capsys.readouterr() == ("nothing has changed\n", "")
    write(folder / "events", {"created.json": {"type": "user:created", "data": {"mail": "string"}}})
    assert main(printing) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert "user:created: data.email was removed" in error
    assert error.endswith("user:created: data.mail is new and required\n")
    changed = {"type": "user:created", "schema": 2, "data": {"mail": "string"}}
    write(folder / "events", {"created.json": changed})
    assert main([*printing, "--json-schema", "schemas", "--line-length", "100"]) == 0
    assert (folder / "schemas/UserCreated.json").exists()


def test_folders_that_links_lead_to_are_printed_once_and_in_no_circle(
    folder: Path, capsys: Capture
) -> None:
    write(folder / "events", {"created.json": {"type": "user:created", "data": "string"}})
    write(folder / "shared", {"sent.json": {"type": "mail:sent", "data": "string"}})
    (folder / "events/again").symlink_to(folder / "shared")
    (folder / "events/shared").symlink_to(folder / "shared")
    (folder / "shared/circle").symlink_to(folder / "events")
    assert main(["print", "events", "--out", "events.py"]) == 0
    assert capsys.readouterr().err == ""
    printed = (folder / "events.py").read_text()
    assert printed.count("user:created") == printed.count("mail:sent") == 1


def test_a_folder_that_cannot_be_read_is_not_passed_over(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "events", {"created.json": {"type": "user:created", "data": "string"}})
    (folder / "events/closed").mkdir()
    scandir = os.scandir

    def as_who_may_not(path: str) -> Any:  # root may
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", as_who_may_not)
    assert main(["print", "events", "--out", "events.py"]) == 1
    assert "closed' cannot be read: Permission denied" in capsys.readouterr().err
    assert not (folder / "events.py").exists()


def test_a_folder_of_which_no_more_than_the_name_can_be_read_is_not_passed_over(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "events", {"created.json": {"type": "user:created", "data": "string"}})
    (folder / "events/closed").mkdir()
    stat = os.stat

    def as_who_may_not(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", as_who_may_not)
    assert main(["print", "events", "--out", "events.py"]) == 1
    assert "closed' cannot be read: Permission denied" in capsys.readouterr().err
    assert not (folder / "events.py").exists()


def test_classes_are_exported_and_what_is_exported_can_be_printed(
    folder: Path, capsys: Capture
) -> None:
    (folder / "shop_of_this_test.py").write_text(SHOP)
    assert main(["schema", "export", "shop_of_this_test:EVENTS", "--out", "events"]) == 0
    assert capsys.readouterr() == ("wrote events/order-placed.json\n", "")
    assert json.loads((folder / "events/order-placed.json").read_text()) == {
        "event": {
            "type": "order:placed",
            "schema": 2,
            "data": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"cents": {"type": "integer"}},
                "required": ["cents"],
                "additionalProperties": False,
            },
        }
    }
    assert main(["schema", "export", "shop_of_this_test:EVENTS", "--out", "events"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["schema", "export", "shop_of_this_test:EVENTS", "--out", "events", "--force"]) == 0
    assert main(["print", "events", "--out", "again.py"]) == 0


def test_in_json_each_file_that_was_written_is_an_object(folder: Path, capsys: Capture) -> None:
    (folder / "shop_of_this_test.py").write_text(SHOP)
    exporting = ["schema", "export", "shop_of_this_test:EVENTS", "--out", "events", "--json"]
    assert main(exporting) == 0
    assert capsys.readouterr() == ('{"wrote":"events/order-placed.json"}\n', "")
    assert main(exporting) == 1
    assert "is there already" in json.loads(capsys.readouterr().err)["message"]
    printing = ["print", "events", "--out", "again.py", "--json"]
    assert main([*printing, "--check"]) == 1
    assert json.loads(capsys.readouterr().err)["error"] == "NotPrinted"
    assert main(printing) == 0
    printed = [json.loads(line)["printed"] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["again.py", "events/events.lock.json"]
    assert main(printing) == 0
    assert capsys.readouterr() == ("", "")


SHOP = """
from pydantic import BaseModel
from everlog import event, upcast

@event("order:placed", schema=2)
class OrderPlaced(BaseModel):
    cents: int

@upcast("order:placed", 1, 2)
def cents(data):
    return {"cents": round(data["euros"] * 100)}

EVENTS = [OrderPlaced, cents]
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder}/log.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


async def write_history(url: str) -> None:
    async with EventStore.open(url, events=FIRST) as store:
        for number in range(3):
            await store.append("o-1", Placed1(customer="Jane Doe", euros=number))
        await store.append("o-1", Sent1(to="Oslo"), meta=By(name="ann"))
        await store.append("o-2", Noted("x"))
        await store.import_records([planted(number) for number in range(len(PLANTED))])


# Of today's classes: `order:placed` of schema 3, `order:shipped` (once `order:sent`) of schema 2.
PLANTED: list[tuple[str, int, str, str]] = [
    ("order:placed", 1, '{"customer":"Jane Doe"}', "null"),  # lost a field
    ("order:placed", 3, '{"cents":"x","family":"b","given":"a"}', "null"),  # retyped
    ("order:placed", 3, '{"cents":1,"family":"b"}', "null"),  # a field that is required now
    ("order:placed", 3, '{"cents":2,"family":"b"}', "null"),
    ("order:placed", 9, '{"cents":1,"family":"b","given":"a"}', "null"),  # of a newer program
    ("order:sent", 1, '{"to":"Oslo"}', "null"),  # without the meta that an upcast asks for
    ("order:shipped", 2, '{"address":"Oslo"}', '{"clerk":5}'),  # another meta
    ("order:gone", 1, '{"x":1}', "null"),  # a type without a class
    ("order:noted", 1, "5", "null"),
]


def planted(number: int) -> Any:
    from everlog import Record
    from everlog.core.event import Registry
    from everlog.core.record import computed_hash

    type, schema, data, meta = PLANTED[number]
    row = record_of(Noted("x"), stream="planted", version=number + 1).stored
    row = row._replace(type=type, register=type, schema=schema, data=data, meta=meta)
    return Record[Any](row._replace(hash=computed_hash(row)), Registry([]))


TODAY_AND_UPCASTS = """
from tests.evolution.old_and_new import TODAY, UPCASTS
EVENTS = [*TODAY, *UPCASTS]
"""


def test_check_finds_each_planted_incompatibility_with_counts_and_first_positions(
    url: str, folder: Path, capsys: Capture
) -> None:
    asyncio.run(write_history(url))
    (folder / "today_of_this_test.py").write_text(TODAY_AND_UPCASTS)
    command = ["schema", "check", url, "--events", "today_of_this_test:EVENTS"]
    assert main([*command, "--json"]) == 3
    out, error = capsys.readouterr()
    assert error == ""
    found = json.loads(out)
    assert (found["records"], found["failing"]) == (14, 9)
    kinds = {
        (kind["type"], kind["schema"], kind["where"]): (kind["count"], kind["first"]["position"])
        for kind in found["kinds"]
    }
    assert kinds == {
        ("order:placed", 1, "schema"): (1, 6),
        ("order:placed", 3, "data.cents"): (1, 7),
        ("order:placed", 3, "data.given"): (2, 8),
        ("order:placed", 9, "schema"): (1, 10),
        ("order:sent", 1, "schema"): (1, 11),
        ("order:shipped", 2, "meta.clerk"): (1, 12),
        ("order:gone", 1, "type"): (1, 13),
        ("order:noted", 1, "data"): (1, 14),
    }
    problems = " ".join(kind["problem"] for kind in found["kinds"])
    assert "KeyError('euros')" in problems
    assert "a newer one wrote it" in problems
    assert main([*command, "--skip-unknown"]) == 3
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "14 events, 6 can be read"
    assert table[1].split() == ["COUNT", "FIRST", "TYPE", "SCHEMA", "PROBLEM"]
    assert table[2].split()[:4] == ["2", "8", "order:placed", "3"]
    assert len(table) == 2 + 7


def test_a_log_that_can_be_read_ends_it_with_0(url: str, folder: Path, capsys: Capture) -> None:
    async def write_some() -> None:
        async with EventStore.open(url, events=FIRST) as store:
            await store.append("o-1", Placed1(customer="Jane Doe", euros=1), Noted("x"))

    asyncio.run(write_some())
    (folder / "today_of_that_test.py").write_text(TODAY_AND_UPCASTS)
    assert main(["schema", "check", url, "--events", "today_of_that_test:EVENTS"]) == 0
    assert capsys.readouterr() == ("2 events, 2 can be read\n", "")


def test_check_makes_no_ledger_where_there_is_none(
    folder: Path, capsys: Capture, postgres_server: PostgresServer
) -> None:
    (folder / "today_of_no_test.py").write_text(TODAY_AND_UPCASTS)
    command = ["schema", "check", "--events", "today_of_no_test:EVENTS"]
    assert main([*command, "sqlite:///nothing.db"]) == 1
    assert "nothing.db" in capsys.readouterr().err
    assert not (folder / "nothing.db").exists()
    assert main([*command, postgres_server.new_database()]) == 1
    assert "everlog: " in capsys.readouterr().err


WRONG: dict[str, tuple[list[str], str]] = {
    "no list in it": (["schema", "export", "json", "--out", "x"], "no event class"),
    "no module": (["schema", "export", "not_there:EVENTS", "--out", "x"], "No module named"),
    "a module that fails": (
        ["schema", "export", "failing:EVENTS", "--out", "x"],
        "ZeroDivisionError",
    ),
    "no name": (["schema", "export", "json:EVENTS", "--out", "x"], "'json' has no 'EVENTS'"),
    "no list": (["schema", "export", "json:dumps", "--out", "x"], "no list of event classes"),
    "no events": (["schema", "export", "sys:path", "--out", "x"], "classes and upcasts"),
    "no folder": (["print", "nowhere", "--out", "x.py"], "no folder or file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_said_without_a_stack_trace(
    case: str, folder: Path, capsys: Capture
) -> None:
    (folder / "failing.py").write_text("1 / 0")
    arguments, says = WRONG[case]
    assert main(arguments) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("everlog: ")
    assert says in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["print"],
        ["print", "."],
        ["schema"],
        ["schema", "check", "x"],
        ["schema", "check", "x", "--events", "a:b"],
    ],
)
def test_what_is_not_understood_ends_with_2(
    arguments: list[str], folder: Path, capsys: Capture
) -> None:
    (folder / "a.py").write_text("b = []")
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: everlog")


def test_a_module_in_the_working_directory_is_found_by_the_script_too(folder: Path) -> None:
    (folder / "shop.py").write_text(SHOP)
    done = subprocess.run(
        [sys.executable, "-m", "everlog", "schema", "export", "shop:EVENTS", "--out", "events"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
