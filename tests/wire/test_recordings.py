"""The recorded conversations are true: a real server of today answers what stands there."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.connect import connect
from everlog.core.record import computed_hash
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.server.routes import ROUTES
from everlog.testing import PostgresServer
from everlog.wire.pieces import EventReader, PieceReader, read_piece
from everlog.wire.problems import CROSSING, error_of, read_forked
from everlog.wire.protocol import NDJSON, SSE
from everlog.wire.reads import (
    read_found,
    read_names,
    read_page,
    read_status,
    read_stream,
)
from everlog.wire.talks import read_made, read_position, read_pushed, read_reception
from tests.postgres_schemas import Schemas
from tests.wire.conversations import CONVERSATIONS
from tests.wire.recording import (
    FOLDER,
    Conversation,
    Opened,
    in_memory,
    play,
    recorded,
    recordings,
    text_of,
)

RECORDINGS = recordings()


@pytest.fixture(scope="module")
def schemas(postgres_server: PostgresServer) -> Iterator[Schemas]:
    with closing(Schemas(postgres_server.new_database())) as schemas:
        yield schemas


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens a new ledger of each kind."""
    if request.param == "memory":
        yield in_memory
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/hub.db"
        yield lambda seams: connect(url, seams=seams, options={})
    else:
        schemas: Schemas = request.getfixturevalue("schemas")
        name = schemas.take()

        async def in_postgres(seams: Seams) -> Ledger:
            # It takes its identity from the server: it is given the one that others would have.
            schemas.make(name, MemoryLedger(seams=seams).identity)
            return await connect(schemas.url, seams=seams, options={"schema": name})

        yield in_postgres
        schemas.give_back(name)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_hub_of_today_answers_what_was_recorded_wherever_it_is(name: str, opened: Opened) -> None:
    async def main() -> None:
        steps = 0
        async with aclosing(play(RECORDINGS[name], opened)) as played:
            async for about, said, now in played:
                assert without_seen(now) == without_seen(said), about
                steps += 1
        assert steps > 5

    asyncio.run(main())


def without_seen(step: Any) -> Any:
    """Leaves out what a ledger notes in a page for itself: not every kind does so."""
    return json.loads(re.sub(r',\\"seen\\":\\"[^"]*"', "", json.dumps(step)))


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda each: each.name)
def test_what_is_recorded_is_what_would_be_recorded_today(conversation: Conversation) -> None:
    path = FOLDER / f"{conversation.name}.json"
    # Otherwise: python -m tests.wire.recording
    assert text_of(asyncio.run(recorded(conversation))) == path.read_text("utf-8")


def test_there_is_a_recording_for_each_conversation_and_no_other() -> None:
    assert {*RECORDINGS} == {conversation.name for conversation in CONVERSATIONS}


# --- that all of the protocol is there ------------------------------------------------------------

ALONE = {"/openapi.json"}
"""Says of itself what it says."""
NOT_RECORDED = {
    # Of real time, or of what fails in the hub's storage.
    *("storage_error", "ledger_busy", "storage_full", "storage_failed", "unreachable"),
    *("file_replaced", "corrupt_ledger", "outcome_unknown", "offline"),
    # What the API of Python alone can ask for.
    *("event_validation_error", "unknown_event", "naive_datetime", "conflict", "cursor_moved"),
    *("invalid_expectation", "invalid_stamp", "invalid_token", "stale_upstream", "tampered_record"),
    "invalid_input",
}


def exchanges() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Returns every request with its answer."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for recording in RECORDINGS.values():
        asked: dict[str, Any] = {}
        for step in recording["steps"]:
            if "request" in step:
                asked[step.get("on", "")] = step["request"]
            if "response" in step:
                found.append((asked[step.get("on", "")], step["response"]))
    return found


def test_every_route_is_recorded_with_an_answer_that_is_none_of_problems() -> None:
    done = {
        (request["method"], request["target"].partition("?")[0])
        for request, response in exchanges()
        if response["status"] == 200
    }
    for route in ROUTES:
        pattern = re.compile(re.escape(route.path).replace(re.escape("{stream}"), ".+"))
        found = [
            path for method, path in done if method == route.method and pattern.fullmatch(path)
        ]
        assert found or route.path in ALONE, route


def test_every_problem_that_a_client_can_meet_is_recorded() -> None:
    codes = {
        json.loads("".join(response["body"]))["code"]
        for _, response in exchanges()
        if response["status"] >= 400
    }
    crossing = {each.code for each in CROSSING}
    assert crossing - codes == NOT_RECORDED
    assert {"forked", "scope_changed", "no_such_path", "headers_too_large"} <= codes


def test_every_verdict_on_what_is_pushed_is_recorded() -> None:
    verdicts = {
        result["status"]
        for request, response in exchanges()
        if request["target"].startswith("/v1/push") and response["status"] == 200
        for result in json.loads("".join(response["body"]))["results"]
    }
    assert verdicts == {
        *("accepted", "duplicate", "out_of_scope", "clock_ahead", "rejected", "tampered"),
        "waiting",
    }


# --- that our own readers read it -----------------------------------------------------------------

READERS: dict[str, Callable[[bytes], Any]] = {
    "/v1/hello": read_reception,
    "/v1/push": read_pushed,
    "/v1/append": read_made,
    "/v1/wait": read_position,
    "/v1/find": read_found,
    "/v1/streams": lambda body: read_names("streams", body),
    "/v1/relations": lambda body: read_names("relations", body),
    "/v1/status": read_status,
    "/v1/read": read_page,
}


def test_our_client_reads_every_recorded_answer() -> None:
    records = 0
    for request, response in exchanges():
        path, body = request["target"].partition("?")[0], "".join(response["body"]).encode()
        media = response["headers"].get("content-type")
        if response["status"] >= 400:
            error = error_of(body, status=response["status"])
            assert str(error) or read_forked(body), body
        elif media == SSE:
            reader = PieceReader()
            pieces = [reader.feed(event.data) for event in EventReader().feed(body)]
            assert [piece for piece in pieces if piece is not None]
        elif path == "/v1/pull" and media == NDJSON:
            for record in read_piece(body).records:
                assert computed_hash(record) == record.hash
                records += 1
        elif path in READERS:
            READERS[path](body)
        elif response["status"] != 304 and path != "/healthz":
            assert path.startswith("/v1/streams/")
            assert read_stream(body).version == 2
    assert records > 10


def test_the_check_of_the_readme_holds_for_every_record_and_finds_what_was_changed() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    [said] = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)

    def run(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", text], cwd=FOLDER, capture_output=True, text=True, check=False
        )

    done = run(program)
    assert (done.stdout, done.stderr) == (said, "")
    for old, new in (
        ('"stream": record["stream"]', '"stream": record["stream"] + "x"'),
        ("digest(secret, ", "digest(secret[1:], "),
        ("+ version.to_bytes", "+ (version + 1).to_bytes"),
    ):
        assert program.count(old) == 1
        assert "AssertionError" in run(program.replace(old, new)).stderr, new
