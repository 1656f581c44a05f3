"""What a process is told when it starts: which ledger, and its part in the whole."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from everlog import EventStore
from everlog.errors import InvalidInput
from everlog.testing.torture.events import EVENTS


@dataclass(frozen=True, slots=True)
class Plan:
    """The same for all processes of one torture."""

    url: str
    ledger: str | None
    """`module:function`, where the URL is not opened as everlog itself would."""
    run: str
    """Random: marks the ids, streams and connections of this torture."""
    seed: int
    folder: str
    """Where the processes write down what they did and saw."""
    start: int
    """The position at which the ledger was before."""
    streams: int
    """How many streams all writers share."""
    mischief: tuple[str, ...]
    """What is done to them, by name."""

    @property
    def mark(self) -> str:
        """The name that connections to PostgreSQL have."""
        return f"everlog-torture-{self.run}"

    async def open(self) -> EventStore:
        """Opens the ledger anew."""
        if self.ledger is None:
            return await EventStore.open(self.url, events=EVENTS)
        return EventStore(await imported(self.ledger)(self.url), events=EVENTS)


@dataclass(frozen=True, slots=True)
class Role:
    """The part of one process."""

    plan: Plan
    name: str
    """`writer`, `reader`, or the name of a mischief."""
    number: int
    lanes: int = 0
    """Of a writer: how many tasks write side by side."""

    @property
    def rng(self) -> Random:
        """Choices that are this process's own, and the same for the same seed."""
        return Random(f"{self.plan.seed} {self.name} {self.number}")  # noqa: S311 - no secret

    def file(self, kind: str) -> Path:
        """Where it writes down what it did (`journal`), saw (`seen`), or cannot tell (`errors`)."""
        return Path(self.plan.folder, f"{self.name.replace(':', '-')}-{self.number}.{kind}")

    def to_json(self) -> str:
        """Returns it as a line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str | bytes) -> Role:
        """Returns the role that a line of JSON holds."""
        fields: dict[str, Any] = json.loads(text)
        plan: dict[str, Any] = fields.pop("plan")
        plan["mischief"] = tuple(plan["mischief"])
        return Role(Plan(**plan), **fields)


def imported(path: str) -> Callable[..., Any]:
    """Returns the function that `module:function` names; raises `InvalidInput` if there is none."""
    module, _, name = path.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(f"{path!r} names nothing that can be imported ({error})") from error
    return found
