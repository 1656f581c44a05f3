"""Sessions of the command line, as they were recorded: for machines, in a pipe, and to errors."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, ImportedFile
from everlog.adapters.sqlite import examining
from everlog.cli.command_line import COMMANDS, main
from tests.adapters.databases import until
from tests.cli import logs
from tests.scenarios.processes import environment

Capture = pytest.CaptureFixture[str]
MODULE = "tests.cli.logs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    asyncio.run(logs.make(tmp_path / "app.db"))
    # However full the disk of this machine is, the doctor is to find what is planted.
    monkeypatch.setattr(examining, "LITTLE_ROOM", 0.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERLOG_URL", "sqlite:///app.db")
    monkeypatch.delenv("EVERLOG_EVENTS", raising=False)
    return tmp_path


class Told:
    """Runs commands in this process."""

    def __init__(self, capsys: Capture) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Returns what is said on stdout; nothing is on stderr but for an error."""
        ended = main(arguments)
        out, error = self._capsys.readouterr()
        assert ended == code, error
        assert (error == "") == (code in (0, 3)), error
        return out

    def error(self, *arguments: str, code: int = 1) -> str:
        """Returns what is said on stderr; nothing is on stdout."""
        ended: object = None
        try:
            ended = main(arguments)
        except SystemExit as left:
            ended = left.code
        out, error = self._capsys.readouterr()
        assert (ended, out) == (code, "")
        if code == 1:
            assert error.count("\n") == 1
            assert error.startswith(("everlog: ", "{"))
        return error

    def objects(self, *arguments: str, code: int = 0) -> list[Any]:
        """Returns the objects that are said with `--json`."""
        return [json.loads(line) for line in self(*arguments, "--json", code=code).splitlines()]

    def one(self, *arguments: str, code: int = 0) -> Any:
        [found] = self.objects(*arguments, code=code)
        return found


@pytest.fixture
def told(folder: Path, capsys: Capture) -> Told:
    return Told(capsys)


# --- looking ---

LAST = '"an \\u001b[2J escape, \\u202e and 漢字"'
TAIL = f"""\
1	2025-01-01T00:00:00.000Z	user-1	1	user:created	{{"email":"jane@doe.com"}}
2	2025-01-01T00:00:01.000Z	user-1	2	user:email-set	"jane@acme.com"
3	2025-01-01T00:00:02.000Z	user-2	1	user:email-set	{LAST}
"""
TITLES = "position	created_at	stream	version	type	data\n"


def test_the_last_records_are_lines_with_tabs_of_which_none_is_cut(told: Told) -> None:
    assert told("tail") == TAIL
    assert told("tail", "-n", "1") == TAIL.splitlines(keepends=True)[2]
    assert told("tail", "-n", "0") == ""
    assert told("tail", "--after", "1") == "".join(TAIL.splitlines(keepends=True)[1:])
    assert told("tail", "--type", "user:created") == TAIL.splitlines(keepends=True)[0]
    assert told("tail", "--relation", "all", "-n", "5") == "".join(
        TAIL.splitlines(keepends=True)[:2]
    )
    assert told("tail", "--prefix", "user-2") == TAIL.splitlines(keepends=True)[2]
    token = told.one("info")["token"]
    assert told("tail", "--after", token) == ""


def test_a_record_is_shown_with_all_that_is_known_of_it(told: Told) -> None:
    shown = told.one("show", "1")
    assert told.one("show", "e1") == shown
    assert told.one("tail", "-n", "3", "--type", "user:created") == shown
    for name in ("created", "recorded", "hash", "origin"):
        assert re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", shown.pop(name))
    assert shown == {
        "position": 1,
        "stream": "user-1",
        "version": 1,
        "type": "user:created",
        "schema": 1,
        "id": "e1",
        "created_at": "2025-01-01T00:00:00.000Z",
        "recorded_at": "2025-01-01T00:00:00.000Z",
        "register": "user:created",
        "correlation": "e1",
        "causation": None,
        "hydrated": False,
        "outdated": False,
        "orphan": False,
        "data": {"email": "jane@doe.com"},
        "meta": {"who": "me"},
    }
    plain = dict(line.split("\t") for line in told("show", "1").splitlines())
    assert plain["causation"] == "-"
    assert plain["hydrated"] == "no"
    assert plain["data"] == '{"email":"jane@doe.com"}'


def test_a_stream_is_shown_as_a_list(told: Told) -> None:
    assert told("show", "user-1") == TITLES + "".join(TAIL.splitlines(keepends=True)[:2])
    assert told("show", "user-1", "--limit", "1") == TITLES + TAIL.splitlines(keepends=True)[1]
    assert [each["id"] for each in told.objects("show", "user-1")] == ["e1", "e2"]


def test_a_number_is_a_position_unless_it_is_said_to_be_more(told: Told) -> None:
    told("append", "2", "a", "1", "--untyped", "--id", "3")
    assert told.one("show", "3")["id"] == "e3"
    assert told.one("show", "3", "--id")["stream"] == "2"
    assert told.one("show", "2", "--stream")["id"] == "3"
    assert "no record and no stream '9'" in told.error("show", "9")
    assert "no record and no stream 'user-1'" in told.error("show", "user-1", "--id")


def test_streams_are_listed(told: Told) -> None:
    assert told("streams") == (
        "stream	version	position	last_type	last_recorded_at\n"
        "user-1	2	2	user:email-set	2025-01-01T00:00:01.000Z\n"
        "user-2	1	3	user:email-set	2025-01-01T00:00:02.000Z\n"
    )
    assert [each["stream"] for each in told.objects("streams", "-n", "1")] == ["user-1"]
    assert [each["stream"] for each in told.objects("streams", "--after", "user-1")] == ["user-2"]
    assert told.objects("streams", "--prefix", "order-") == []


def test_very_many_streams_are_listed_page_by_page(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from everlog.cli import streams

    monkeypatch.setattr(streams, "PAGE", 1)
    assert told("streams").count("last_type") == 1
    assert len(told.objects("streams")) == 2


def test_a_ledger_says_who_it_is(told: Told) -> None:
    info = told.one("info")
    assert (info["position"], info["last_recorded_at"]) == (3, "2025-01-01T00:00:02.000Z")
    assert (info["durable"], info["shared"], info["subscriptions"]) == (True, True, 0)
    plain = dict(line.split("\t") for line in told("info").splitlines())
    assert plain.keys() == info.keys()
    assert plain["chain"] == info["chain"]


def test_states_are_folded(told: Told) -> None:
    reducer = f"{MODULE}:user_reducer"
    assert told("fold", reducer, "user-1") == '{"email":"jane@acme.com"}\n'
    for words in (["--as-of", "2025-01-01T00:00:00Z"], ["--until", "1"]):
        assert told.one("fold", reducer, "user-1", *words) == {"email": "jane@doe.com"}
    assert told.one("fold", "-r", reducer, "all") == {"email": "jane@acme.com"}
    user = told.one("fold", f"{MODULE}:User", "user-1")
    assert user == {"id": "user-1", "email": "jane@doe.com"}
    old = told.one("fold", f"{MODULE}:User", "user-1", "--as-of", "2025-01-01T01:00:00+01:00")
    assert old == user


def test_a_module_of_the_current_folder_is_found(told: Told, folder: Path) -> None:
    (folder / "count_things.py").write_text(
        "from everlog import reducer\n"
        "@reducer('count', initial=int)\n"
        "def count(state, record):\n    return state + 1\n"
    )
    assert told("fold", "count_things:count", "user-1") == "2\n"


def test_a_fold_by_a_module_without_the_upcasts_says_how_they_are_named(
    told: Told, folder: Path
) -> None:
    (folder / "new_shapes.py").write_text(
        "from dataclasses import dataclass\n"
        "from everlog import event, upcast\n"
        f"from {MODULE} import EmailSet\n"
        "@event('user:created', schema=2)\n"
        "@dataclass\n"
        "class Created:\n    mail: str\n"
        "@upcast('user:created', 1, 2)\n"
        "def mail(data):\n    return {'mail': data['email']}\n"
    )
    (folder / "new_states.py").write_text(
        "from everlog import reducer\n"
        "from new_shapes import Created, EmailSet\n"
        "@reducer('mail', initial=str)\n"
        "def mails(state, record):\n"
        "    return record.data.mail if isinstance(record.data, Created) else state\n"
    )
    asked = ("fold", "new_states:mails", "user-1")
    assert "--events: what new_states names was taken" in told.error(*asked)
    assert told(*asked, "--events", "new_shapes") == '"jane@doe.com"\n'


# --- appending ---


def test_an_event_is_appended_once_and_validated(told: Told) -> None:
    given = ["append", "user-3", "user:created", '{"email":"joe@doe.com"}', "--events", MODULE]
    given += ("--meta", '{"who":"me"}', "--expect", "new", "--id", "e4", "--relation", "all")
    first = told.one(*given)
    assert (first["position"], first["meta"]) == (4, {"who": "me"})
    assert told.one(*given) == first, "a retry"
    assert told("tail", "--relation", "all").count("\n") == 3
    assert told(*given) == "position	4\nstream	user-3\nversion	1\nid	e4\n"


def test_data_comes_from_stdin(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"email": "a@b.c"}'))
    words = ("user-9", "user:created", "-", "--events", MODULE, "--meta", '{"who":"me"}')
    assert told.one("append", *words)["data"] == {"email": "a@b.c"}


REFUSED = {
    "a field too many": (
        ["user-9", "user:created", '{"email":"x","nmae":1}', "--meta", '{"who":"me"}'],
        "data.nmae: is no field",
    ),
    "a field of meta too many": (
        ["user-9", "user:created", '{"email":"x"}', "--meta", '{"who":"me","why":1}'],
        "meta.why: is no field",
    ),
    "a field too few": (
        ["user-9", "user:created", "{}", "--meta", '{"who":"me"}'],
        "data.email: Field required",
    ),
    "no meta": (["user-9", "user:created", '{"email":"x"}'], "meta"),
    "meta that is not expected": (["user-9", "user:email-set", '"x"', "--meta", "1"], "meta"),
    "another type": (["user-9", "user:deleted", "1"], "user:deleted"),
    "no JSON": (["user-9", "user:email-set", "joe"], "needs quotes"),
    "a key twice": (
        ["user-9", "user:created", '{"email":"x","email":"y"}', "--meta", '{"who":"me"}'],
        "the data has the key 'email' twice",
    ),
    "deep JSON": (["user-9", "user:email-set", "[" * 100_000], "no JSON"),
    "not portable": (["user-9", "user:email-set", '"\\u0000"'], "NUL"),
    "another version": (["user-1", "user:email-set", '"x"', "--expect", "1"], "version 2"),
    "a name that is none": (["", "user:email-set", '"x"'], "must not be empty"),
    "an id that is taken": (["user-1", "user:email-set", '"x"', "--id", "e1"], "e1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_appended_is_said_in_a_line_and_nothing_is_written(
    case: str, told: Told
) -> None:
    words, says = REFUSED[case]
    assert says in told.error("append", *words, "--events", MODULE)
    assert told.one("info")["position"] == 3


def test_without_classes_an_event_is_appended_only_by_name(told: Told) -> None:
    assert "--untyped" in told.error("append", "a", "b", "1")
    assert told.one("append", "a", "b", '{"any":[1,null]}', "--untyped")["data"] == {
        "any": [1, None]
    }
    assert told.one("append", "a", "b", "1", "--untyped", "--meta", '"x"')["meta"] == "x"


def test_a_ledger_that_is_not_there_is_not_made_by_a_slip_of_the_pen(
    told: Told, folder: Path
) -> None:
    before = sorted(os.listdir(folder))
    other = "sqlite:///ap.db"
    for words in (
        ["info"],
        ["tail", "-f"],
        ["show", "1"],
        ["streams"],
        ["verify"],
        ["doctor"],
        ["subscriptions", "status"],
        ["effects", "list"],
        ["backup", "x.db"],
        ["export", "x.ndjson"],
        ["append", "a", "b", "1", "--untyped"],
        ["fold", f"{MODULE}:user_reducer", "a"],
    ):
        place = 2 if words[0] in ("subscriptions", "effects") else 1
        words.insert(place, other)
        assert "there is no ledger at" in told.error(*words), words
    assert sorted(os.listdir(folder)) == before
    assert told.one("append", other, "a", "b", "1", "--untyped", "--create")["position"] == 1


def test_looking_leaves_no_file_behind(told: Told, folder: Path) -> None:
    for words in (["info"], ["doctor"], ["subscriptions", "status"], ["effects", "list"]):
        told(*words)
    assert not (folder / "app.views.db").exists()


# --- subscriptions and effects ---


@pytest.fixture
def parked(folder: Path) -> Path:
    """A subscription of which two records are parked, and nobody runs it."""

    async def fail() -> None:
        async with (
            EventStore.open(folder / "app.db", events=logs.EVENTS) as store,
            store.subscription("emails", logs.projector, on_error="park", slices=2) as emails,
        ):
            await emails.caught_up()

    asyncio.run(fail())
    return folder


def test_what_is_parked_is_listed_retried_and_dropped(told: Told, parked: Path) -> None:
    [status] = told.objects("subscriptions", "status")
    assert (status["name"], status["parked"], status["slices"]) == ("emails", 2, 2)
    assert (status["lag"], status["workers"], status["error"]) == (0, [], "")
    head, *lines = told("subscriptions", "status").splitlines()
    assert dict(zip(head.split("\t"), lines[0].split("\t"), strict=True))["parked"] == "2"

    for words in (["emails"], []):
        found = told.objects("subscriptions", "parked", *words)
        assert [(each["position"], each["status"]) for each in found] == [
            (2, "parked"),
            (3, "parked"),
        ]
        assert {each["error"] for each in found} == {"ValueError: no such host"}
    assert told.objects("subscriptions", "parked", "sqlite:///app.db", "--stream", "user-9") == []

    assert told("subscriptions", "drop", "emails", "--position", "3") == "dropped 1 record\n"
    assert told.one("subscriptions", "retry", "emails", "--all") == {"retried": 1}
    assert [each["status"] for each in told.objects("subscriptions", "parked")] == [
        "retrying",
        "dropped",
    ]
    for action in ("retry", "drop"):
        assert "say which" in told.error("subscriptions", action, "emails", code=2)
        assert "no subscription 'other'" in told.error("subscriptions", action, "other", "--all")


def test_a_subscription_goes_back_and_is_forgotten(told: Told, parked: Path) -> None:
    assert "--yes" in told.error("subscriptions", "rewind", "emails", "--to", "0", code=2)
    rewound = told.one("subscriptions", "rewind", "emails", "--to", "1", "--yes")
    assert rewound == {"name": "emails", "position": 1}
    [status] = told.objects("subscriptions", "status")
    assert (status["position"], status["lag"], status["parked"]) == (1, 2, 0)
    assert "cannot go back to 2" in told.error(
        "subscriptions", "rewind", "emails", "--to", "2", "--yes"
    )
    assert "--yes" in told.error("subscriptions", "remove", "emails", code=2)
    assert told("subscriptions", "remove", "emails", "--yes") == "removed	emails\n"
    assert told.objects("subscriptions", "status") == []


REBUILDING = """
from everlog import EventStore, Projector, Record, Tx
from tests.cli.logs import EmailSet

EVENTS = [EmailSet]

def filling(table):
    projector = Projector()

    @projector.on(EmailSet)
    async def keep(record: Record, tx: Tx) -> None:
        await tx.execute(f"CREATE TABLE IF NOT EXISTS {table} (position)")
        await tx.execute(f"INSERT INTO {table} VALUES (?)", (record.position,))

    return projector

one, two = filling("kept"), filling("kept_2")

async def swap(tx: Tx) -> None:
    await tx.execute("ALTER TABLE kept_2 RENAME TO kept_now")

async def bad_swap(tx: Tx) -> None:
    raise ValueError("no such table")
"""


def test_a_read_model_is_rebuilt_and_swapped_in(told: Told, folder: Path) -> None:
    (folder / "rebuilding_emails.py").write_text(REBUILDING)
    words = ["subscriptions", "rebuild", "emails", "--version", "2"]
    words += ("--projector", "rebuilding_emails:two", "--swap", "rebuilding_emails:swap")
    assert "no subscription 'emails'" in told.error(*words)

    async def run_live() -> None:
        one = import_module("rebuilding_emails").one
        async with (
            EventStore.open(folder / "app.db", events=logs.EVENTS) as store,
            store.subscription("emails", one) as live,
        ):
            await live.caught_up()

    asyncio.run(run_live())
    bad = [*words[:-1], "rebuilding_emails:bad_swap"]
    assert "no such table" in told.error(*bad)
    assert told.one(*words) == {"name": "emails", "version": 2}
    with sqlite3.connect(folder / "app.views.db") as connection:
        found = connection.execute("SELECT position FROM kept_now ORDER BY 1").fetchall()
    connection.close()
    assert found == [(2,), (3,)]


def test_effects_are_listed_and_settled(told: Told, folder: Path) -> None:
    from everlog import Projector, Record

    projector = Projector()

    @projector.once(logs.EmailSet, on_ambiguous="park", name="pay")
    async def pay(record: Record[logs.EmailSet]) -> None:
        raise ValueError("no such account")

    async def fail() -> None:
        async with (
            EventStore.open(folder / "app.db", events=logs.EVENTS) as store,
            store.subscription("pay", projector, from_="beginning", on_error="park"),
            asyncio.timeout(60),
        ):
            while len(await store.subscriptions.effects(status="parked")) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(fail())
    found = told.objects("effects", "list", "pay", "--status", "parked")
    assert [(each["position"], each["handler"]) for each in found] == [(2, "pay"), (3, "pay")]
    assert "no such account" in found[0]["error"]
    settled = told.one("effects", "settle", "pay", "2", "--as", "done", "--result", '{"id":1}')
    assert settled == {"name": "pay", "position": 2, "settled_as": "done"}
    told("effects", "settle", "pay", "3", "--as", "drop")
    assert told.objects("effects", "list", "--status", "parked") == []
    assert "goes with --as done" in told.error(
        "effects", "settle", "pay", "3", "--as", "drop", "--result", "1", code=2
    )
    assert "no JSON" in told.error("effects", "settle", "pay", "3", "--as", "done", "--result", "x")
    assert told.error("effects", "settle", "pay", "9", "--as", "done")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tail", "-n", "many", "--json"], "-n"),
        (["--json"], "required: COMMAND"),
        (["tail", "--json", "--no-such-option"], "unrecognized arguments (not shown"),
        (["subscriptions", "retry", "--json"], "required: NAME"),
        (["effects", "--json", "burn"], "invalid choice (not shown"),
        (["serve", "--json", "memory:", "--port", "70000"], "--port is a number"),
    ],
)
def test_in_json_what_was_not_understood_is_an_object_too(
    words: list[str], said: str, told: Told
) -> None:
    error = told.error(*words, code=2)
    assert error.count("\n") == 1
    found = json.loads(error)
    assert found.keys() == {"error", "message"}
    assert found["error"] == "Misunderstood"
    assert said in found["message"]
    # Behind `--` stand no options.
    words = [*(each for each in words if each != "--json"), "--", "--json"]
    assert not told.error(*words, code=2).startswith("{")


# --- verify, doctor, backup ---


def test_damage_ends_verify_and_doctor_with_3(told: Told, folder: Path) -> None:
    assert re.fullmatch(r"ok\t3\t[0-9a-f]{64}\n", told("verify"))
    assert told.one("verify")["problems"] == []
    with sqlite3.connect(folder / "app.db") as connection:
        connection.execute("DROP TRIGGER records_are_never_changed")
        connection.execute("UPDATE records SET data = '\"x\"' WHERE position = 2")
    connection.close()
    assert told("verify", code=3).startswith("position	what\n2	its content")
    found = told.one("verify", code=3)
    assert (found["ok"], found["problems"][0]["position"]) == (False, 2)
    codes = {each["code"] for each in told.objects("doctor", "--verify", code=3)}
    assert "damage" in codes


@pytest.mark.parametrize("what", ["no database", "another program's", "its first page"])
def test_what_is_no_ledger_any_more_ends_verify_and_doctor_with_3(
    what: str, told: Told, folder: Path
) -> None:
    path = folder / "app.db"
    with sqlite3.connect(path) as connection:  # so that all of it is in the file
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    if what == "no database":
        path.write_bytes(b"XXXX" + path.read_bytes()[4:])
    elif what == "its first page":
        content = path.read_bytes()
        path.write_bytes(content[:100] + b"\xff" * 2_000 + content[2_100:])
    else:
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    found = told.one("verify", code=3)
    [problem] = found.pop("problems")
    assert found == {"ok": False, "records": 0, "chain": ""}
    assert problem["position"] is None
    assert "app.db is " in problem["what"]
    assert told("verify", code=3).count("app.db is ") == 1
    [finding] = told.objects("doctor", code=3)
    assert (finding["severity"], finding["code"]) == ("trouble", "no-ledger")
    assert finding["what"] == problem["what"]
    # A question that needs a ledger has no answer.
    assert problem["what"] in told.error("info")


def test_what_is_not_there_is_nothing_that_was_looked_at(told: Told, folder: Path) -> None:
    assert "there is no ledger" in told.error("verify", "sqlite:///none.db")
    assert "there is no ledger" in told.error("doctor", "sqlite:///none.db")


def test_the_doctor_says_what_is_wrong_and_what_to_do(told: Told, parked: Path) -> None:
    found = told.objects("doctor", code=3)
    [finding] = [each for each in found if each["code"] == "parked"]
    assert finding["severity"] == "trouble"
    assert "'emails' has 2 records parked" in finding["what"]
    lines = told("doctor", code=3).splitlines()
    assert lines[0] == "severity	code	what	advice"
    assert any(line.startswith("trouble	parked	") for line in lines)
    told("subscriptions", "drop", "emails", "--all")
    assert all(each["severity"] == "note" for each in told.objects("doctor"))


def test_a_backup_is_a_ledger_and_replaces_nothing(told: Told, folder: Path) -> None:
    done = told.one("backup", "copy.db")
    assert (done["file"], done["position_at_least"]) == ("copy.db", 3)
    assert done["bytes"] == (folder / "copy.db").stat().st_size
    assert told("tail", "sqlite:///copy.db") == TAIL
    assert "exists" in told.error("backup", "copy.db")
    assert "no directory" in told.error("backup", "none/copy.db")


# --- export and import ---


def test_records_go_out_and_come_back(told: Told, folder: Path) -> None:
    assert told("export", "log.ndjson") == "records	3\nposition	3\n"
    assert told.one("import", "sqlite:///copy.db", "log.ndjson") == {"stored": 3, "known": 0}
    assert told("import", "sqlite:///copy.db", "log.ndjson") == "stored	0\nknown	3\n"
    hashes = [each["hash"] for each in told.objects("tail")]
    assert [each["hash"] for each in told.objects("tail", "sqlite:///copy.db")] == hashes
    assert "exists" in told.error("export", "log.ndjson")
    told("export", "log.ndjson", "--replace", "--stream", "user-2")
    assert len((folder / "log.ndjson").read_bytes().splitlines()) == 1
    assert "no UTF-8" in told.error("import", "app.db")
    assert "cannot be read" in told.error("import", "none.ndjson")
    assert "cannot be read" in told.error("import", "sqlite:///new.db", "none.ndjson")
    assert not (folder / "new.db").exists()


def test_records_go_through_pipes(folder: Path) -> None:
    everlog, copy = f"{sys.executable} -m everlog", "sqlite:///copy.db"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{everlog} export - | {everlog} import {copy} - --json"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"stored": 3, "known": 0}

    async def look() -> ImportedFile:
        async with EventStore.open("memory:") as store:
            async with EventStore.open(folder / "copy.db") as copy:
                await copy.export(folder / "again.ndjson")
            return await store.import_file(folder / "again.ndjson")

    assert asyncio.run(look()) == ImportedFile(3, 0, 0)


def test_a_full_disk_behind_a_redirection_is_said_in_a_line(folder: Path) -> None:
    assert Path("/dev/full").exists()
    for words in ("export -", "tail --json"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m everlog {words} > /dev/full"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr


# --- how it ends ---

WRONG: dict[str, tuple[list[str], str]] = {
    "a module that is not there": (["fold", "nothing_here:x", "a"], "No module named"),
    "a module without that name": (["fold", f"{MODULE}:nothing", "a"], "has no 'nothing'"),
    "no reducer": (["fold", f"{MODULE}:UserCreated", "a"], "is no reducer"),
    "a reducer that fails": (["fold", f"{MODULE}:broken", "user-1"], "no such field (logs.py, "),
    "no stream": (["fold", f"{MODULE}:user_reducer", "a"], "has no records there"),
    "no token": (["tail", "--after", "abc"], "token"),
    "no stream of that name": (["tail", "--stream", ""], "must not be empty"),
    "events that are none": (
        ["fold", f"{MODULE}:user_reducer", "a", "--events", "json"],
        "has no records",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_ends_with_one_line_and_1(case: str, told: Told) -> None:
    words, says = WRONG[case]
    error = told.error(*words)
    assert says in error
    assert "Traceback" not in error
    as_json = json.loads(told.error(*words, "--json"))
    assert says in as_json["message"]
    assert as_json["error"]


def test_a_module_that_fails_or_leaves_is_no_stack_trace(told: Told, folder: Path) -> None:
    (folder / "module_with_a_slip.py").write_text("x = 1\ny = (\n")
    (folder / "module_that_leaves.py").write_text("import sys\n\nsys.exit(7)\n")
    error = told.error("fold", "module_with_a_slip:x", "a")
    assert "SyntaxError" in error
    assert "module_that_leaves.py, line 3" in told.error("fold", "module_that_leaves:x", "a")


@pytest.mark.parametrize(
    "words",
    [
        ["fold", "no-colon", "a"],
        ["fold", f"{MODULE}:User", "a", "--until", "1"],
        ["fold", f"{MODULE}:user_reducer", "a", "--as-of", "2025-01-01"],
        ["fold", f"{MODULE}:user_reducer", "a", "--as-of", "yesterday"],
        ["tail", "-n", "many"],
        ["tail", "--stream", "a", "--prefix", "b"],
        ["show"],
        ["export", "x", "--format", "csv"],
        ["append", "a", "b", "1", "--expect", "soon"],
        ["effects", "list", "--status", "finished"],
        ["completion", "tcsh"],
        ["streams", "--limit", "0"],
        ["subscriptions"],
        ["tail", "--js"],
    ],
)
def test_what_is_not_understood_ends_with_2_and_the_usage(words: list[str], told: Told) -> None:
    error = told.error(*words, code=2)
    assert error.startswith("usage: everlog")
    assert "error: " in error


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["show"], "RECORD|STREAM"),
        (["append", "counter", "1", "--untyped"], "STREAM TYPE JSON"),
        (["fold", f"{MODULE}:user_reducer"], "MODULE:REDUCER STREAM"),
        (["backup"], "FILE"),
        (["export"], "FILE"),
        (["import"], "FILE"),
        (["subscriptions", "remove", "--yes"], "NAME"),
    ],
)
def test_a_url_is_never_taken_for_the_word_that_is_missing_behind_it(
    words: list[str], missing: str, told: Told, folder: Path
) -> None:
    before = sorted(folder.iterdir())
    at = 2 if words[0] == "subscriptions" else 1
    error = told.error(*words[:at], "sqlite:///other.db", *words[at:], code=2)
    assert error.endswith(f"error: behind the URL of a ledger belongs: {missing}\n")
    assert sorted(folder.iterdir()) == before
    assert told("tail", "-n", "0", "--stream", "sqlite:///other.db") == ""


def test_a_change_that_is_refused_has_its_reasons_apart(told: Told, folder: Path) -> None:
    (folder / "events").mkdir()
    config = folder / "events" / "it.json"
    config.write_text('{"event": {"type": "it", "data": {"a": "string", "b": "string"}}}')
    told("print", "events", "--out", "it.py")
    config.write_text('{"event": {"type": "it", "data": {"c": "string"}}}')
    error = told.error("print", "events", "--out", "it.py")
    assert ": it: data.a was removed; it: data.b was removed; it: data.c is new" in error


def test_without_a_url_it_says_where_one_goes(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERLOG_URL")
    assert "EVERLOG_URL" in told.error("info", code=2)
    assert told("tail", "-n", "1", "sqlite:///app.db", "--stream", "user-1")
    assert told("tail", "--stream", "user-1", "sqlite:///app.db", "-n", "1")


ASIDE = {"completion", "demo", "serve", "token", "sync", "print", "schema"}
"""They take other words than a URL first, or none; for those with secrets there are other tests."""


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ASIDE])
def test_no_command_says_a_password(
    command: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVERLOG_URL")
    rest = {
        "show": ["1"],
        "fold": [f"{MODULE}:user_reducer", "a"],
        "append": ["a", "b", "1", "--untyped"],
        "backup": ["x"],
        "export": ["-"],
        "import": ["-"],
        "schema": ["--events", f"{MODULE}:EVENTS"],
    }.get(command, [])
    names = {
        "subscriptions": ["status"],
        "effects": ["list"],
        "schema": ["check"],
    }.get(command, [])
    for url in (
        "postgresql://me:kumquat@127.0.0.1:1/app",
        "postgresql://me:kum@quat@127.0.0.1:1/app",
        "https://me:kumquat@127.0.0.1:1/app?x=kumquat",
        "sqlite:///x.db?password=kumquat",
    ):
        for more in ([], ["--json"]):
            assert "kumquat" not in told.error(command, *names, url, *rest, *more)


# --- Ctrl-C, closed pipes ---


@pytest.mark.parametrize("words", [["export", "-"], ["tail", "--json"], ["streams"]])
def test_a_closed_pipe_ends_it_without_a_word(words: list[str], folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "everlog", *words],
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_tail_follows_and_notices_that_nobody_reads_any_more(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "everlog", "tail", "-f", "-n", "1", "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["id"] == "e3"
            append = _appending(folder)
            append("e4")
            assert json.loads(process.stdout.readline())["id"] == "e4"
            process.stdout.close()
            count = 5

            def ended() -> bool:
                nonlocal count
                append(f"e{count}")
                count += 1
                return process.poll() is not None

            until(ended, "its end")
            assert process.stderr is not None
            assert (process.returncode, process.stderr.read()) == (141, "")
        finally:
            process.kill()


def _appending(folder: Path) -> Callable[[str], None]:
    def append(id: str) -> None:
        async def once() -> None:
            async with EventStore.open(folder / "app.db", events=logs.EVENTS) as store:
                await store.append("user-3", logs.EmailSet("x"), ids=[id])

        asyncio.run(once())

    return append
