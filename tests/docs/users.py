"""What the examples of docstrings are about: users, and a store that knows one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import psycopg
from pydantic import BaseModel, RootModel

import everlog
from everlog import AggregateRoot, EventStore, Projector, Record, blocking, event, reducer
from everlog.ports.seams import Seams
from everlog.testing import FakeClock, deterministic_bytes, postgres, record_of, scenario


class Auditor(BaseModel):
    auditor: str


@event("user:created")
class UserCreated(BaseModel):
    email: str


@event("user:email-set")
class EmailSet(RootModel[str]): ...


@event("user:blocked", meta=Auditor)
class UserBlocked(BaseModel): ...


@dataclass
class UserState:
    email: str = ""
    blocked: bool = False


@reducer("user", initial=UserState)
def user_reducer(state: UserState, record: Record) -> UserState:
    match record.data:
        case UserCreated(email=email) | EmailSet(root=email):
            state.email = email
        case UserBlocked():
            state.blocked = True
        case _:
            pass
    return state


class User(AggregateRoot, name="user"):
    email: str = ""

    def apply(self, record: Record) -> None:
        match record.data:
            case UserCreated(email=email) | EmailSet(root=email):
                self.email = email
            case _:
                pass

    def set_email(self, email: str) -> Self:
        return self.push(EmailSet(email))


EVENTS = [UserCreated, EmailSet, UserBlocked]

_NAMES: list[Any] = [
    AggregateRoot,
    Auditor,
    BaseModel,
    EmailSet,
    FakeClock,
    Path,
    Record,
    RootModel,
    Seams,
    Sequence,
    User,
    UserBlocked,
    UserCreated,
    UserState,
    dataclass,
    datetime,
    deterministic_bytes,
    postgres,
    record_of,
    scenario,
    timedelta,
]


class BlockingUser(blocking.AggregateRoot, name="user"):
    email: str = ""

    def apply(self, record: Record) -> None:
        match record.data:
            case UserCreated(email=email) | EmailSet(root=email):
                self.email = email
            case _:
                pass

    def set_email(self, email: str) -> Self:
        return self.push(EmailSet(email))


projector, blocking_projector = Projector(), blocking.Projector()


@projector.on(EmailSet)
async def keep(record: Record[EmailSet]) -> None:
    """Does nothing with it."""


@blocking_projector.on(EmailSet)
def keep_from_a_thread(record: Record[EmailSet]) -> None:
    """Does nothing with it."""


BlockingUser.__name__ = BlockingUser.__qualname__ = "User"


MAILS = "CREATE TABLE mails (address text NOT NULL)"
"""The table that the examples of transactions write to."""


@asynccontextmanager
async def a_blocking_store_with_a_user(
    url: str = "memory:",
) -> AsyncGenerator[dict[str, Any], None]:
    """Prepares the same for `everlog.blocking`, in a running event loop, as notebooks have one."""
    with blocking.EventStore.open(url, events=EVENTS, clock=FakeClock()) as store:
        store.append("user-1", UserCreated(email="jane@doe.com"))
        store.append("user-1", EmailSet("jane@work.com"))
        yield {
            **{value.__name__: value for value in _NAMES},
            **{name: getattr(blocking, name) for name in blocking.__all__},
            "UTC": UTC,
            "User": BlockingUser,
            "projector": blocking_projector,
            "store": store,
            "user_reducer": user_reducer,
        }


@asynccontextmanager
async def a_store_with_a_user(url: str = "memory:") -> AsyncGenerator[dict[str, Any], None]:
    """Prepares the namespace that the docstring of `everlog` describes."""
    async with EventStore.open(url, events=EVENTS, clock=FakeClock()) as store:
        await store.append("user-1", UserCreated(email="jane@doe.com"))
        await store.append("user-1", EmailSet("jane@work.com"))
        yield {
            **{name: getattr(everlog, name) for name in everlog.__all__},
            **{value.__name__: value for value in _NAMES},
            "UTC": UTC,
            "asyncio": asyncio,
            "projector": projector,
            "store": store,
            "user_reducer": user_reducer,
        }


@asynccontextmanager
async def a_blocking_store_in_a_database(url: str) -> AsyncGenerator[dict[str, Any], None]:
    """Prepares the same with a PostgreSQL store, and a connection to its database."""
    async with a_blocking_store_with_a_user(url) as namespace:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(MAILS)
            yield {**namespace, "psycopg": psycopg, "url": url, "connection": connection}


@asynccontextmanager
async def a_store_in_a_database(url: str) -> AsyncGenerator[dict[str, Any], None]:
    """Prepares the same with a PostgreSQL store, and a connection to its database."""
    async with (
        a_store_with_a_user(url) as namespace,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        await connection.execute(MAILS)
        yield {**namespace, "psycopg": psycopg, "url": url, "connection": connection}
