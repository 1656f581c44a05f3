"""A ledger behind a relay, and a look at it that goes past the relay."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from everlog.testing import PostgresServer
from tests.proxies.relay import Relay
from tests.scenarios.postgres.site import Site

_numbers = itertools.count(1)


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    """A database of its own for every test: who waits for a lock in it is counted."""
    return postgres_server.new_database()


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    """A schema of its own for every test."""
    with Relay(database) as relay, Site(relay, database, f"site_{next(_numbers)}") as site:
        yield site
