"""Chaos: what was acknowledged is there once, all else at most once, and the pool is as it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator, Sequence

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from everlog.adapters.postgres import schema, writer
from everlog.adapters.postgres.executing import Run, Script, Statement
from everlog.testing import PostgresServer
from tests.proxies.relay import Relay
from tests.scenarios.postgres.chaos import HARMS, Chaos, Ids, with_new_ids, with_the_same_ids
from tests.scenarios.postgres.site import Site


@pytest.fixture
def durable_site(durable_postgres: PostgresServer) -> Generator[Site]:
    """On a server that syncs, in a database that by default does not wait for that."""
    database = durable_postgres.new_database()
    with psycopg.connect(database, autocommit=True) as connection:
        name = Identifier(database.rpartition("/")[2])
        connection.execute(SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    with Relay(database) as relay, Site(relay, database, "chaos") as site:
        yield site


HAPPENING = (
    "CancelledError",
    "TimeoutError",
    "server killed",
    "backend terminated",
    "line cut",
    "commit or answer lost",
)


def survived(server: PostgresServer, site: Site, rng: random.Random, seconds: float) -> None:
    chaos = Chaos(server, site, rng, wanted=HAPPENING)
    problems = asyncio.run(chaos.run(seconds))
    print(f"{server!r}, {seconds} s: {dict(chaos.figures)}")
    assert problems == []
    for figure in (*HAPPENING, "acknowledged", "given up", "rows of their own"):
        assert chaos.figures[figure] > 0, figure


def test_in_10_s_of_chaos_every_acknowledged_append_is_there_once_and_every_other_at_most_once(
    durable_postgres: PostgresServer, durable_site: Site, rng: random.Random
) -> None:
    survived(durable_postgres, durable_site, rng, 10)


@pytest.mark.soak
def test_in_60_s_of_chaos_every_acknowledged_append_is_there_once_and_every_other_at_most_once(
    durable_postgres: PostgresServer, durable_site: Site, rng: random.Random
) -> None:
    survived(durable_postgres, durable_site, rng, 60)


# --- tests of the test ---------------------------------------------------------------------------


def taken_for(fate: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """A lost commit that is taken for one or the other, without a look."""

    def taken(*_: object) -> Script[bool]:
        yield Run([Statement("SELECT 1")])
        return fate

    return lambda monkeypatch: monkeypatch.setattr(writer, "has_committed", taken)


def as_it_comes(_: pytest.MonkeyPatch) -> None:
    """No fault in the store."""


def not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that are as durable as the database has it."""
    for name, text in vars(schema).items():
        if isinstance(text, str) and "synchronous_commit" in text:
            monkeypatch.setattr(schema, name, text.replace("ELSE 'on' END", "ELSE 'off' END"))


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Ids, Sequence[str]]] = {
    "new ids": (as_it_comes, with_new_ids, HARMS),
    "taken for written": (taken_for(True), with_the_same_ids, ["lose"]),
    "taken for not written": (taken_for(False), with_the_same_ids, ["lose"]),
    "not synced": (not_synced, with_the_same_ids, ["kill"]),
}


@pytest.mark.once
@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_that_is_planted_is_seen_within_seconds(
    durable_postgres: PostgresServer,
    durable_site: Site,
    rng: random.Random,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    plant, ids, harms = PLANTED[fault]
    plant(monkeypatch)
    problems: list[str] = []
    for run in range(5):
        chaos = Chaos(durable_postgres, durable_site, rng, ids, harms, name=f"{run}:")
        try:
            problems = asyncio.run(chaos.run(2))
        except AssertionError as error:
            problems = [str(error)]
        if problems:
            break
    print(f"{len(problems)} problems, such as {problems[:3]}")
    assert problems
