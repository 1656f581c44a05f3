"""The events of the suite: models, bare values and a dataclass, as the base install knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, RootModel

from everlog.core.event import event


class Auditor(BaseModel):
    """Who did it: the meta of `Opened`."""

    auditor: str


@event("contract:opened", meta=Auditor)
class Opened(BaseModel):
    """A model with fields and meta."""

    owner: str
    balance: int = 0


@event("contract:noted")
class Noted(RootModel[Any]):
    """A bare value of any shape."""


@event("contract:renamed")
class Renamed(RootModel[str]):
    """A bare string, a register of its own."""


@event("contract:activated", register="contract:active")
class Activated(BaseModel):
    """No fields: its data are null. Shares a register with `Deactivated`."""


@event("contract:deactivated", register="contract:active")
class Deactivated(BaseModel):
    """Writes the same register as `Activated`."""


@event("contract:moved")
@dataclass
class Moved:
    """A standard dataclass."""

    to: str
    amount: int


@event("contract:noted", schema=2)
class NotedAnew(RootModel[Any]):
    """The second shape of `Noted`, for a store of its own."""


EVENTS: tuple[type[Any], ...] = (Opened, Noted, Renamed, Activated, Deactivated, Moved)
