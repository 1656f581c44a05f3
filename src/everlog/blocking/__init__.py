"""The same store without `await`: for scripts, Django, Flask, notebooks and tests.

Everything that `everlog` has is here by the same name: what waits there is a plain call here, the
rest is the very same. Moving between them is the one import. All blocking stores of a process live
on one thread of their own, so any number of threads may share a store, and what they append at the
same time is committed together. `def` hooks and handlers run in threads and may call the store.

>>> with EventStore.open("memory:", events=[UserCreated]) as store:
...     [created] = store.append("user-1", UserCreated(email="jane@doe.com"))
...     for record in store.read("user-1"):
...         print(record.position, record.type, record.data)
1 user:created email='jane@doe.com'
"""

from __future__ import annotations

from everlog.blocking.aggregate import AggregateRoot
from everlog.blocking.event_store import EventStore
from everlog.blocking.migrating import migrate, migration_script
from everlog.blocking.projector import Projector
from everlog.blocking.reading import Reading
from everlog.blocking.transaction import Transaction
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
from everlog.store.event_store import Status, StoreInfo
from everlog.store.folding import every
from everlog.store.hooks import HookFailure
from everlog.store.preparing import to
from everlog.store.verifying import Verification
from everlog.store.writing import Imported
from everlog.subscriptions.causation import caused_by
from everlog.subscriptions.projector import Appended

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
    "caused_by",
    "event",
    "every",
    "migrate",
    "migration_script",
    "reducer",
    "to",
]
