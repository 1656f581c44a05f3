"""Who is compared, by name. Each is loaded when it is asked: memory counts what a side needs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from benchmarks.side import Side

FLOOR = "floor"
BLOCKING_FLOOR = "floor-blocking"
EVERLOG = "everlog-msgspec"
EVERLOG_PYDANTIC = "everlog-pydantic"
BLOCKING_EVERLOG = "everlog-blocking"

OURS: Mapping[str, tuple[str, str]] = {
    # name: (the module of its side, what makes it)
    FLOOR: ("benchmarks.floor.sides", "AsyncSide"),
    EVERLOG: ("benchmarks.everlog_sides", "with_structs"),
    EVERLOG_PYDANTIC: ("benchmarks.everlog_sides", "with_models"),
    BLOCKING_FLOOR: ("benchmarks.floor.sides", "BlockingSide"),
    BLOCKING_EVERLOG: ("benchmarks.everlog_blocking_side", "BlockingEverlogSide"),
}

PEERS: Mapping[str, tuple[str, str]] = {
    # name: (its distribution, the module of its side, made as `Peer`)
    "eventsourcing": ("eventsourcing", "benchmarks.peers.eventsourcing_peer"),
    "eventsource-py": ("eventsource-py", "benchmarks.peers.eventsource_py_peer"),
    "event-sourcery": ("python-event-sourcery", "benchmarks.peers.event_sourcery_peer"),
}


def make(name: str) -> Side:
    """Returns a new side that is not open yet; raises what loading a peer raises."""
    module, maker = OURS[name] if name in OURS else (PEERS[name][1], "Peer")
    return cast(Side, getattr(importlib.import_module(module), maker)())


def installed(peer: str) -> bool:
    """Whether a peer is in this environment: it is in that of the benchmarks, and in no other."""
    try:
        version(PEERS[peer][0])
    except PackageNotFoundError:
        return False
    return True
