"""Who is compared, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from benchmarks.everlog_sides import with_models, with_structs
from benchmarks.floor.sides import AsyncSide, BlockingSide
from benchmarks.side import Side

FLOOR = "floor"
BLOCKING_FLOOR = "floor, blocking"
EVERLOG = "everlog, msgspec"
EVERLOG_PYDANTIC = "everlog, pydantic"

OURS: Mapping[str, Callable[[], Side]] = {
    FLOOR: AsyncSide,
    EVERLOG: with_structs,
    EVERLOG_PYDANTIC: with_models,
    BLOCKING_FLOOR: BlockingSide,
}

PEERS: Mapping[str, tuple[str, str]] = {
    # name: (its distribution, the module of its side, which makes it as `Peer`)
    "eventsourcing": ("eventsourcing", "benchmarks.peers.eventsourcing_peer"),
    "eventsource-py": ("eventsource-py", "benchmarks.peers.eventsource_py_peer"),
    "event-sourcery": ("python-event-sourcery", "benchmarks.peers.event_sourcery_peer"),
}


def make(name: str) -> Side:
    """Returns a new side that is not open yet; raises what loading a peer raises."""
    if name in OURS:
        return OURS[name]()
    # By name: peers are installed in the benchmarks' environment alone.
    module = importlib.import_module(PEERS[name][1])
    return cast(Side, module.Peer())


def installed(peer: str) -> bool:
    """Whether a peer's distribution is in this environment."""
    try:
        version(PEERS[peer][0])
    except PackageNotFoundError:
        return False
    return True
