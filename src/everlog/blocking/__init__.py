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
from everlog.blocking.following import Following
from everlog.blocking.migrating import migrate, migration_script
from everlog.blocking.projector import Projector
from everlog.blocking.reading import Reading
from everlog.blocking.rebuild import Rebuild
from everlog.blocking.subscription import Subscription
from everlog.blocking.sync import Sync
from everlog.blocking.transaction import Transaction
from everlog.blocking.tx import Tx
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
from everlog.ports.checkpoints import Parked
from everlog.ports.examining import Finding
from everlog.ports.listing import StreamInfo
from everlog.ports.migration import Migration
from everlog.store.event_store import Status, StoreInfo
from everlog.store.exchanging import Exported, ImportedFile
from everlog.store.folding import every
from everlog.store.hooks import HookFailure
from everlog.store.preparing import to
from everlog.store.subscribing import SubscriptionStatus
from everlog.store.verifying import Verification
from everlog.store.writing import Imported
from everlog.subscriptions.causation import caused_by
from everlog.subscriptions.effects import Outcome
from everlog.subscriptions.policies import retry
from everlog.subscriptions.projector import Appended
from everlog.subscriptions.rebuild import RebuildProgress
from everlog.sync.syncing import SyncStatus

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
