"""A shop's events: as they were first, and as they are after two schemas and a new name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, RootModel

from everlog import Record, event, reducer, upcast


class By(BaseModel):
    name: str


# --- as they were first ---


@event("order:placed")
class Placed1(BaseModel):
    customer: str
    euros: float


@event("order:sent", meta=By)
class Sent1(BaseModel):
    to: str


@event("order:noted")
class Noted(RootModel[str]): ...


FIRST = [Placed1, Sent1, Noted]


# --- in between: cents ---


@event("order:placed", schema=2)
class Placed2(BaseModel):
    customer: str
    cents: int


BETWEEN = [Placed2, Sent1, Noted]


# --- today: customers have names in two parts, and orders are shipped ---


@event("order:placed", schema=3)
class Placed(BaseModel):
    given: str
    family: str
    cents: int


class Clerk(BaseModel):
    clerk: str
    shift: int = 0


@event("order:shipped", schema=2, meta=Clerk, aliases=["order:sent"], register="order:sent")
class Shipped(BaseModel):
    address: str


@upcast("order:placed", 1, 2)
def cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"customer": data["customer"], "cents": round(data["euros"] * 100)}


@upcast("order:placed", 2, 3)
def two_names(data: dict[str, Any]) -> dict[str, Any]:
    given, _, family = data.pop("customer").partition(" ")
    return {**data, "given": given, "family": family}


@upcast("order:shipped", 1, 2)
def shipped(data: dict[str, Any], meta: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"address": data["to"]}, {"clerk": meta["name"]}


TODAY = [Placed, Shipped, Noted]
UPCASTS = [cents, two_names, shipped]


@dataclass
class Order:
    customer: str = ""
    cents: int = 0
    sent: list[str] = field(default_factory=list[str])
    types: list[str] = field(default_factory=list[str])


@reducer("order", initial=Order)
def order(state: Order, record: Record[Any]) -> Order:
    match record.data:
        case Placed(given=given, family=family, cents=cents):
            state.customer = f"{family}, {given}"
            state.cents += cents
        case Shipped(address=address):
            state.sent.append(f"{address} by {record.meta.clerk}")
        case _:
            pass
    state.types.append(record.type)
    return state
