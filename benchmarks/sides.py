"""Who is compared, by name. Each is loaded when it is asked: memory counts what a side needs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from benchmarks.databases import POSTGRES, SQLITE
from benchmarks.side import Side

FLOOR = "floor"
BLOCKING_FLOOR = "floor-blocking"
EVERLOG = "everlog-msgspec"
EVERLOG_PYDANTIC = "everlog-pydantic"
BLOCKING_EVERLOG = "everlog-blocking"

OURS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    # name: by database, the module of its side and what makes it
    FLOOR: {
        SQLITE: ("benchmarks.floor.sides", "AsyncSide"),
        POSTGRES: ("benchmarks.floor.postgres_sides", "AsyncSide"),
    },
    EVERLOG: dict.fromkeys((SQLITE, POSTGRES), ("benchmarks.everlog_sides", "with_structs")),
    EVERLOG_PYDANTIC: dict.fromkeys(
        (SQLITE, POSTGRES), ("benchmarks.everlog_sides", "with_models")
    ),
    BLOCKING_FLOOR: {
        SQLITE: ("benchmarks.floor.sides", "BlockingSide"),
        POSTGRES: ("benchmarks.floor.postgres_sides", "BlockingSide"),
    },
    BLOCKING_EVERLOG: dict.fromkeys(
        (SQLITE, POSTGRES), ("benchmarks.everlog_blocking_side", "BlockingEverlogSide")
    ),
}

PEERS: Mapping[str, tuple[str, str]] = {
    # name: (its distribution, the module of its side, which has a maker per database)
    "eventsourcing": ("eventsourcing", "benchmarks.peers.eventsourcing_peer"),
    "eventsource-py": ("eventsource-py", "benchmarks.peers.eventsource_py_peer"),
    "event-sourcery": ("python-event-sourcery", "benchmarks.peers.event_sourcery_peer"),
}
MAKERS = {SQLITE: "on_sqlite", POSTGRES: "on_postgres"}


def make(database: str, name: str) -> Side:
    """Returns a new side that is not open yet; raises what loading a peer raises."""
    module, maker = OURS[name][database] if name in OURS else (PEERS[name][1], MAKERS[database])
    return cast(Side, getattr(importlib.import_module(module), maker)())


def installed(peer: str) -> bool:
    """Whether a peer is in this environment: it is in that of the benchmarks, and in no other."""
    try:
        version(PEERS[peer][0])
    except PackageNotFoundError:
        return False
    return True
