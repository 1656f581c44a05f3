"""What is not for who asks is in no answer, and what is secret is nowhere."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.core.selection import Selection
from everlog.server import Pattern, TokenFile
from everlog.wire.cursors import scope_id
from everlog.wire.messages import Offer
from everlog.wire.reads import write_selection
from tests.server.calling import (
    ALL,
    LEDGER,
    SECRET,
    append,
    call,
    event,
    hello,
    offered,
    push,
    records_of,
)

SCOPES = {
    "prefix": Pattern(prefix="mine-"),
    "relation": Pattern(relation="mine"),
    "type": Pattern(types=("mine",)),
    "all three": Pattern(prefix="mine-", relation="mine", types=("mine",)),
}


async def filled(store: EventStore, hub: Any, token: str) -> tuple[list[str], list[str]]:
    """Puts events of mine and of others in; returns what is theirs: ids and streams, and words."""
    for index in range(6):
        theirs = index % 2
        whose = "theirs" if theirs else "mine"
        kanary = f"kanary-{index}-{whose}"
        reply = await append(
            hub,
            event(
                f"{whose}-{index}",
                whose,
                id=f"id-{index}-{whose}",
                data={"said": f"{kanary}-data"},
                meta={"said": f"{kanary}-meta"},
                correlation=f"{kanary}-correlation",
            ),
            token=token,
        )
        assert reply.status == 200, reply
        await store.relations.add(whose, f"{whose}-{index}")
    ids = [f"id-{index}-theirs" for index in (1, 3, 5)]
    streams = [f"theirs-{index}" for index in (1, 3, 5)]
    words = [f"kanary-{index}-theirs" for index in (1, 3, 5)]
    return [*ids, *streams], words


@pytest.mark.parametrize("kind", SCOPES)
async def test_no_probe_of_any_id_gives_away_what_is_out_of_scope(
    kind: str, tmp_path: Path
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    everything = tokens.create("all", pull=[ALL], push=[ALL])
    plain = tokens.create("mine", pull=[SCOPES[kind]], push=[SCOPES[kind]])
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        names, words = await filled(store, hub, everything)
        records = await records_of(store)
        theirs = [record for record in records if record.type == "theirs"]
        ledger = (await store.info()).ledger
        probes: list[dict[str, Any]] = []
        cursors = ["0"] + [f"{r.position}.{r.chain.hex()}.{ledger}" for r in records]
        scopes = ["", "prefix=theirs-", "prefix=", "prefix=m", "relation=theirs", "type=theirs"]
        scopes += ["prefix=theirs-&relation=mine", "type=mine&type=theirs", "relation=mine"]
        scopes += ["prefix=mine-", "prefix=mine-&relation=mine&type=mine", "type=mine"]
        for cursor, scope in itertools.product(cursors, scopes):
            probes.append({"path": "/v1/pull", "query": f"cursor={cursor}&{scope}&limit=2"})
        for scope in scopes:
            probes.append({"path": "/v1/read", "query": scope})
            probes.append({"path": "/v1/read", "query": f"{scope}&backwards=true"})
            probes.append({"path": "/v1/read", "query": f"{scope}&order=created"})
        for record in theirs:
            probes.append({"path": f"/v1/streams/{record.stream}"})
            probes.append({"path": "/v1/read", "query": f"stream={record.stream}"})
            probes.append({"path": "/v1/read", "query": f"stream={record.stream}&type=mine"})
            probes.append({"path": "/v1/read", "query": f"stream={record.stream}&relation=mine"})
            probes.append(
                {"path": "/v1/read", "query": f"stream={record.stream}&stream=mine-0&type=mine"}
            )
            for body in (
                {"streams": [record.stream], "relation": "mine", "prefix": "mine-"},
                {"streams": [record.stream], "resolved": True, "until": 9, "types": ["mine"]},
                {"relation": "mine", "resolved": True, "until": 9, "prefix": "mine-"},
                {"relation": "mine", "resolved": True, "until": 9, "types": ["mine"]},
                {"resolved": True, "until": 9},
                {"resolved": True, "streams": [record.stream], "prefix": "mine-", "until": 9},
            ):
                probes.append({"path": "/v1/read", "json": {"selection": body}})
            probes.append({"path": "/v1/find", "json": {"ids": [record.id, "none"]}})
            probes.append({"path": "/v1/relations", "json": {"streams": [record.stream]}})
            probes.append({"path": "/v1/append", "json": {"events": [event(record.stream)]}})
            mine = event("mine-0", "mine", id=record.id, data="{}")
            probes.append({"path": "/v1/append", "json": {"events": [mine]}})
            stolen = {"events": [event("mine-0", "mine")], "relations": [["mine", record.stream]]}
            probes.append({"path": "/v1/append", "json": stolen})
        probes.append({"path": "/v1/streams", "json": {"relations": ["theirs", "mine"]}})
        probes.append({"path": "/v1/status"})
        probes.append({"path": "/v1/hello", "json": hello(scope={"prefix": "theirs-"})})
        probes.append({"path": "/v1/wait", "query": "position=0&timeout_s=0"})
        answered = 0
        for probe in probes:
            method = "POST" if "json" in probe else "GET"
            reply = await call(hub, method, token=plain, **probe)
            assert reply.status < 500
            answered += reply.status == 200
            said = reply.body.decode() + json.dumps(reply.headers)
            asked = json.dumps(probe)
            assert not [word for word in words if word in said], (probe, said)
            # What was asked for may be named in the answer; anything else of theirs may not.
            assert not [name for name in names if name in said and name not in asked], (probe, said)
        assert answered > 10
        headers = {"accept": "text/event-stream"}
        for scope in scopes:
            following = asyncio.create_task(
                call(hub, "GET", "/v1/pull", query=scope, headers=headers, token=plain)
            )
            done, _ = await asyncio.wait([following], timeout=0.05)
            if not done:
                following.cancel()
            else:
                assert not [word for word in words if word in following.result().body.decode()]
        # A push of theirs, as they are and with receipts of nobody.
        offers = [Offer(record, record.version, bytes(32)) for record in theirs]
        said = (await push(hub, offers, token=plain, ledger=LEDGER)).json["results"]
        assert {each["status"] for each in said} == {"rejected"}
        assert [each["position"] for each in said] == [None] * 3
        # And all of it is answered to who may.
        reply = await call(hub, "GET", "/v1/read", token=everything)
        assert all(word in reply.body.decode() for word in words)


@pytest.mark.parametrize("kind", SCOPES)
async def test_what_is_out_of_scope_is_answered_as_what_is_not_there(
    kind: str, tmp_path: Path
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    everything = tokens.create("all", pull=[ALL], push=[ALL])
    plain = tokens.create("mine", pull=[SCOPES[kind]])
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        await filled(store, hub, everything)
        for there, nowhere in (("theirs-1", "theirs-7"), ("id-1-theirs", "id-7-theirs")):
            for probe in (
                {"path": "/v1/streams/NAME"},
                {"path": "/v1/read", "query": "stream=NAME"},
                {"path": "/v1/find", "json": {"ids": ["NAME"]}},
                {"path": "/v1/relations", "json": {"streams": ["NAME"]}},
                {"path": "/v1/streams", "json": {"relations": ["NAME"]}},
            ):
                method = "POST" if "json" in probe else "GET"
                replies = [
                    await call(
                        hub, method, token=plain, **json.loads(json.dumps(probe).replace("NAME", n))
                    )
                    for n in (there, nowhere)
                ]
                said = [
                    reply.body.decode().replace(name, "NAME")
                    for reply, name in zip(replies, (there, nowhere), strict=True)
                ]
                assert said[0] == said[1]
                assert replies[0].status == replies[1].status


async def test_a_page_that_is_sent_back_changed_is_judged_anew(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    everything = tokens.create("all", pull=[ALL], push=[ALL])
    plain = tokens.create("mine", pull=[SCOPES["relation"]])
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        await filled(store, hub, everything)
        body: dict[str, Any] = {"selection": {"relation": "mine"}, "size": 1}
        reply = await call(hub, "POST", "/v1/read", json=body, token=plain)
        page = reply.lines[-1]["page"]
        assert page["selection"]["streams"] == ["mine-0", "mine-2", "mine-4"]
        again = await call(hub, "POST", "/v1/read", json={**page, "size": 1}, token=plain)
        assert again.lines[0]["record"]["stream"] == "mine-2"
        page["selection"]["streams"].append("theirs-1")
        reply = await call(hub, "POST", "/v1/read", json=page, token=plain)
        assert (reply.status, reply.code) == (403, "not_allowed")
        del page["selection"]["streams"]
        reply = await call(hub, "POST", "/v1/read", json=page, token=plain)
        assert reply.status == 403
        resolved = write_selection(Selection(relation="mine", resolved=True))
        body = {"selection": resolved}
        assert (await call(hub, "POST", "/v1/read", json=body, token=plain)).status == 400


async def test_a_page_names_no_stream_that_the_token_may_not_know(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    everything = tokens.create("all", pull=[ALL], push=[ALL])
    plain = tokens.create("prefix", pull=[SCOPES["prefix"]])
    typed = tokens.create("type", pull=[SCOPES["type"]])
    both = tokens.create("both", pull=[SCOPES["all three"]])
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        await filled(store, hub, everything)
        for stream in ("mine-0", "mine-2", "theirs-1"):
            await store.relations.add("joint", stream)
        selection: dict[str, Any] = {"relation": "joint", "prefix": "mine-"}
        body: dict[str, Any] | None = {"selection": selection, "size": 1}
        seen: list[str] = []
        while body is not None:
            reply = await call(hub, "POST", "/v1/read", json=body, token=plain)
            assert reply.status == 200, reply  # also a page that follows
            assert "theirs" not in reply.body.decode()
            seen += [line["record"]["stream"] for line in reply.lines[:-1]]
            page = reply.lines[-1]["page"]
            body = None if page["cursor"] is None else {**page, "size": 1}
        assert seen == ["mine-0", "mine-2"]
        # Whose streams these are is not known by the types of their events.
        selection = {"relation": "joint", "types": ["mine"]}
        reply = await call(hub, "POST", "/v1/read", json={"selection": selection}, token=typed)
        assert (reply.status, reply.code) == (403, "not_allowed")
        selection = {"relation": "mine", "prefix": "mine-", "types": ["mine"]}
        reply = await call(hub, "POST", "/v1/read", json={"selection": selection}, token=both)
        assert reply.status == 200


@pytest.mark.parametrize(
    ("pattern", "query"),
    [
        (Pattern(prefix="mine-"), "prefix=mine-&relation=all"),
        (Pattern(prefix="mine-", relation="all"), "prefix=mine-&relation=all"),
        (Pattern(types=("mine",), relation="all"), "type=mine&relation=all"),
    ],
    ids=str,
)
async def test_what_a_scope_is_called_does_not_tell_who_else_is_in_its_relation(
    pattern: Pattern, query: str, tmp_path: Path
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("shop", pull=[pattern])
    async with offered(tokens=tokens) as (store, hub):
        for stream in ("mine-1", "theirs-1", "theirs-2"):
            await store.relations.add("all", stream)
        reply = await call(hub, "GET", "/v1/pull", query=query, token=plain)
        scope: dict[str, Any] = dict(each.split("=") for each in query.split("&"))
        if "type" in scope:
            scope["types"] = [scope.pop("type")]
        greeted = await call(hub, "POST", "/v1/hello", json=hello(scope=scope), token=plain)
        told = (reply.body + greeted.body).decode()
        # Whoever knows how it is made tries out names, and how often the relation has changed.
        guesses = [
            [*streams]
            for count in range(4)
            for streams in itertools.combinations(("mine-1", "theirs-1", "theirs-2"), count)
        ]
        for members in guesses:
            digest = hashlib.sha256(json.dumps(members).encode()).hexdigest()
            assert digest not in told, members
            for revision in range(10):
                said: list[Any] = [scope.get("prefix"), "all", revision, digest]
                if "types" in scope:
                    said.append({"types": scope["types"]})
                assert scope_id(json.dumps(said)) not in told, members
        # It is the same as long as it means the same, in both answers, and no longer.
        first, last = reply.lines
        assert greeted.json["scope_id"] == scope_id(first["scope"])
        assert last["cursor"].endswith(scope_id(first["scope"]))
        again = await call(hub, "GET", "/v1/pull", query=query, token=plain)
        assert again.lines[0]["scope"] == first["scope"]
        await store.relations.add("all", "mine-2")
        again = await call(hub, "GET", "/v1/pull", query=query, token=plain)
        assert again.lines[0]["scope"] != first["scope"]


async def test_what_leaves_a_relation_is_not_given_any_more(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    everything = tokens.create("all", pull=[ALL], push=[ALL])
    plain = tokens.create("mine", pull=[SCOPES["relation"]])
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (store, hub):
        await filled(store, hub, everything)

        async def streams() -> list[str]:
            reply = await call(hub, "GET", "/v1/pull", query="relation=mine", token=plain)
            return [line["record"]["stream"] for line in reply.lines[1:-1]]

        assert await streams() == ["mine-0", "mine-2", "mine-4"]
        await store.relations.remove("mine", "mine-2")
        assert await streams() == ["mine-0", "mine-4"]


async def test_planted_secrets_are_in_no_log_error_trace_or_repr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = TokenFile(tmp_path / "tokens.json")
    plain = tokens.create("all", pull=[ALL], push=[ALL])
    kanary = "kumquat-marmalade"
    said: list[str] = []
    async with offered(tokens=TokenFile(tmp_path / "tokens.json")) as (_, hub):
        headers = {"cookie": kanary, "x-secret": kanary}
        await append(hub, event("a-1", data={"secret": kanary}), token=plain, headers=headers)

        async def fails(*_: object, **__: object) -> None:
            raise RuntimeError(f"postgresql://u:{kanary}@h: {plain} {SECRET!r}")

        bad: list[dict[str, Any]] = [
            {"path": "/v1/status", "token": f"{plain}{kanary}"},
            {"path": "/v1/status", "headers": {"authorization": f"Basic {kanary}"}},
            {"path": "/v1/pull", "query": f"cursor={kanary}", "token": plain},
            {"path": "/v1/pull", "query": "limit=0", "token": plain, "headers": headers},
            {"path": "/v1/append", "json": {"events": [event("a", data=kanary)]}, "token": plain},
            {"path": "/v1/append", "json": {"events": [{"data": kanary}]}, "token": plain},
        ]
        for probe in bad:
            method = "POST" if "json" in probe else "GET"
            reply = await call(hub, method, **probe)
            assert reply.status in (400, 401, 422), probe
            said.append(reply.body.decode())
        # What fails inside says so to the log, and nothing of what it was given.
        monkeypatch.setattr(hub.answering._hub.ledger, "read", fails)  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(hub.answering._hub.ledger, "head", fails)  # pyright: ignore[reportPrivateUsage]
        for path in ("/v1/read", "/v1/status", "/v1/pull"):
            reply = await call(hub, "GET", path, token=plain)
            assert (reply.status, reply.code) == (500, "internal")
            said.append(reply.body.decode())
        said += [repr(hub), repr(tokens), repr(tokens.tokens()), str(tokens.tokens())]
        said.append((tmp_path / "tokens.json").read_text())
    said.append(caplog.text)
    said += [str(record.__dict__) for record in caplog.records]
    assert "RuntimeError" in caplog.text
    for text in said:
        assert kanary not in text
        assert plain not in text
        assert plain.split("_", 2)[2] not in text
        assert SECRET.decode() not in text
        assert "Traceback" not in text
