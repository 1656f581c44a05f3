"""Fingerprints: by which handlers a worker runs it is told from another of the same name."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from everlog.ports.checkpoints import FINGERPRINT
from everlog.subscriptions.calling import name_of
from everlog.subscriptions.projector import Listener, Projector

Handled = Sequence[str]
"""The handlers of a projector in words, sorted: kind, event type and name of each."""


def handled_by(projector: Projector, *, without_once: bool = False) -> Handled:
    """Returns what a projector handles, in words: the same in every process with this code.

    What a handler does is not looked at: mending it leaves it the same.
    """
    found = [
        f"{listener.kind} {_name_of(listener)} of {type or 'every type'}"
        for type in (*projector.types, "")
        for listener in projector.listeners(type)
        # One that is for every type is among those of each.
        if (listener in projector.listeners("")) == (type == "")
        and not (without_once and listener.kind == "once")
    ]
    return sorted(found)


def fingerprint_of(handled: Handled) -> str:
    """Returns a short digest of it."""
    return hashlib.sha256(json.dumps(list(handled)).encode()).hexdigest()[:8]


def fingerprint_in(worker: str) -> str:
    """Returns the one in a worker's name; empty if there is none."""
    return worker.partition(FINGERPRINT)[2]


def difference(ours: Handled, theirs: Handled) -> str:
    """Returns in words which handlers one has and the other has not."""
    more, less = Counter(ours), Counter(theirs)
    found = [
        ("more here", (more - less).elements()),
        ("missing here", (less - more).elements()),
    ]
    said = [f"{what}: {', '.join(names)}" for what, each in found if (names := list(each))]
    return "; ".join(said)


def _name_of(listener: Listener) -> str:
    if listener.once is not None and listener.once.name is not None:
        return listener.once.name
    handler = listener.handler
    # What has no name of its own would show its address, another one in each process.
    return name_of(handler) if hasattr(handler, "__qualname__") else type(handler).__qualname__
