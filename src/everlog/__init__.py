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
from everlog.core.collecting import events_in
from everlog.core.event import event
from everlog.core.record import Record
from everlog.core.reducer import Reducer, reducer
from everlog.core.stream import ANY, EXISTS, NEW, Expectation
from everlog.core.upcasting import upcast
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
    OtherVersion,
    OutcomeUnknown,
    PartialRetry,
    StorageError,
    StoreClosed,
    UnknownEvent,
    WrongVersion,
)
from everlog.ports.checkpoints import Parked, Tx
from everlog.ports.examining import Finding
from everlog.ports.listing import StreamInfo
from everlog.ports.migration import Migration
from everlog.store.event_store import EventStore, Status, StoreInfo
from everlog.store.exchanging import Exported, ImportedFile
from everlog.store.folding import every
from everlog.store.following import Following
from everlog.store.hooks import HookFailure
from everlog.store.migrating import migrate, migration_script
from everlog.store.preparing import to
from everlog.store.reading import Reading
from everlog.store.subscribing import SubscriptionStatus
from everlog.store.transacting import Transaction
from everlog.store.verifying import Verification
from everlog.store.writing import Imported
from everlog.subscriptions.causation import caused_by
from everlog.subscriptions.effects import Outcome
from everlog.subscriptions.policies import retry
from everlog.subscriptions.projector import Appended, Projector
from everlog.subscriptions.rebuild import Rebuild, RebuildProgress
from everlog.subscriptions.subscription import Subscription
from everlog.sync.syncing import Sync, SyncStatus

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
    "Exported",
    "Finding",
    "Following",
    "HookFailure",
    "IdConflict",
    "Imported",
    "ImportedFile",
    "InvalidInput",
    "LogDiverged",
    "Migration",
    "NotFound",
    "NotPortable",
    "OtherVersion",
    "Outcome",
    "OutcomeUnknown",
    "Parked",
    "PartialRetry",
    "Projector",
    "Reading",
    "Rebuild",
    "RebuildProgress",
    "Record",
    "Reducer",
    "Status",
    "StorageError",
    "StoreClosed",
    "StoreInfo",
    "StreamInfo",
    "Subscription",
    "SubscriptionStatus",
    "Sync",
    "SyncStatus",
    "Transaction",
    "Tx",
    "UnknownEvent",
    "Verification",
    "WrongVersion",
    "__version__",
    "caused_by",
    "event",
    "events_in",
    "every",
    "migrate",
    "migration_script",
    "reducer",
    "retry",
    "to",
    "upcast",
]
