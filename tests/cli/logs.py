"""A log whose every answer is known, for the sessions of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, RootModel

from everlog import AggregateRoot, EventStore, Projector, Record, event, reducer
from everlog.testing import FakeClock


class Auditor(BaseModel):
    who: str


@event("user:created", meta=Auditor)
class UserCreated(BaseModel):
    email: str


@event("user:email-set")
class EmailSet(RootModel[str]): ...


EVENTS = [UserCreated, EmailSet]


@dataclass
class UserState:
    email: str = ""


@reducer("user", initial=UserState)
def user_reducer(state: UserState, record: Record) -> UserState:
    match record.data:
        case UserCreated(email=email) | EmailSet(root=email):
            state.email = email
        case _:
            pass
    return state


@reducer("broken", initial=UserState)
def broken(state: UserState, record: Record) -> UserState:
    raise ValueError("no such\nfield")


class User(AggregateRoot, name="user"):
    email: str = ""

    def apply(self, record: Record) -> None:
        if isinstance(record.data, UserCreated):
            self.email = record.data.email


projector = Projector()


@projector.on(EmailSet)
async def refuse(record: Record[EmailSet]) -> None:
    raise ValueError("no such host")


async def make(path: Path) -> None:
    """Makes a log of three records, of the first seconds of 2025."""
    clock = FakeClock(datetime(2025, 1, 1, tzinfo=UTC))
    async with EventStore.open(path, events=EVENTS, clock=clock) as store:
        await store.append(
            "user-1", UserCreated(email="jane@doe.com"), meta=Auditor(who="me"), ids=["e1"]
        )
        clock.advance(seconds=1)
        await store.append("user-1", EmailSet("jane@acme.com"), ids=["e2"], relations=["all"])
        clock.advance(seconds=1)
        await store.append("user-2", EmailSet("an \x1b[2J escape, \u202e and 漢字"), ids=["e3"])
