"""What happens to an order. Its stream is written by both services, wherever they are."""

from __future__ import annotations

from dataclasses import dataclass

from everlog import Record, event, reducer


@event("order:placed")
@dataclass(frozen=True)
class OrderPlaced:
    """Somebody wants something. Born in the order service."""

    item: str
    address: str


@event("order:packed")
@dataclass(frozen=True)
class ParcelPacked:
    """It is in a parcel. Born in the shipping service."""

    address: str


@event("order:sent")
@dataclass(frozen=True)
class ParcelSent:
    """The carrier has it, and gave a number. Born in the shipping service."""

    number: str


EVENTS = [OrderPlaced, ParcelPacked, ParcelSent]


@reducer("order", initial=dict[str, str])
def order(state: dict[str, str], record: Record) -> dict[str, str]:
    """What is known of an order."""
    match record.data:
        case OrderPlaced(item=item):
            return {**state, "item": item, "status": "placed"}
        case ParcelPacked():
            return {**state, "status": "packed"}
        case ParcelSent(number=number):
            return {**state, "status": "sent", "number": number}
        case _:
            return state
