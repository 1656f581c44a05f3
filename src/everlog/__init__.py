"""everlog: one library and one API for the event log of a whole system.

Examples in docstrings can be typed into `python -m asyncio`. In them `UserCreated(email=...)`,
`EmailSet("...")` and `UserBlocked()` are events, `User` is an aggregate and `user_reducer` a
reducer of them, and `store` is an open store in memory whose stream `user-1` holds two (where an
example speaks of a `url` or `connection`: in the PostgreSQL database that it leads to):

>>> [record.data async for record in store.read("user-1")]
[UserCreated(email='jane@doe.com'), EmailSet(root='jane@work.com')]
"""

from __future__ import annotations

from everlog.core.aggregate import AggregateRoot
from everlog.core.event import event
from everlog.core.record import Record
from everlog.core.reducer import Reducer, reducer
from everlog.core.stream import ANY, EXISTS, NEW, Expectation
from everlog.errors import (
    CannotOpen,
    ClockAhead,
    Conflict,
    EventValidationError,
    EverlogError,
    IdConflict,
    InvalidInput,
    LogDiverged,
    NotFound,
    NotPortable,
    OutcomeUnknown,
    PartialRetry,
    StorageError,
    StoreClosed,
    UnknownEvent,
    WrongVersion,
)
from everlog.ports.migration import Migration
from everlog.store.event_store import EventStore, Status, StoreInfo
from everlog.store.folding import every
from everlog.store.hooks import HookFailure
from everlog.store.migrating import migrate, migration_script
from everlog.store.preparing import to
from everlog.store.reading import Reading
from everlog.store.transacting import Transaction
from everlog.store.verifying import Verification
from everlog.store.writing import Imported
from everlog.subscriptions.causation import caused_by
from everlog.subscriptions.projector import Appended, Projector

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "EXISTS",
    "NEW",
    "AggregateRoot",
    "Appended",
    "CannotOpen",
    "ClockAhead",
    "Conflict",
    "EventStore",
    "EventValidationError",
    "EverlogError",
    "Expectation",
    "HookFailure",
    "IdConflict",
    "Imported",
    "InvalidInput",
    "LogDiverged",
    "Migration",
    "NotFound",
    "NotPortable",
    "OutcomeUnknown",
    "PartialRetry",
    "Projector",
    "Reading",
    "Record",
    "Reducer",
    "Status",
    "StorageError",
    "StoreClosed",
    "StoreInfo",
    "Transaction",
    "UnknownEvent",
    "Verification",
    "WrongVersion",
    "__version__",
    "caused_by",
    "event",
    "every",
    "migrate",
    "migration_script",
    "reducer",
    "to",
]
