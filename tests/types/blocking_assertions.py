"""What type checkers say of programs on everlog.blocking. Never run, but checked as its neighbour.

Where a line must be an error it carries both checkers' ignores; one that is not needed is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, assert_type

import msgspec
from pydantic import BaseModel, RootModel

import everlog
from everlog.blocking import (
    AggregateRoot,
    EventStore,
    Imported,
    Parked,
    Projector,
    Reading,
    Record,
    Reducer,
    Subscription,
    SubscriptionStatus,
    Tx,
    Verification,
    event,
    reducer,
    retry,
)
from everlog.store.snapshots import StateAt
from everlog.testing import (
    AggregateScenario,
    FakeClock,
    ProjectorScenario,
    ReducerScenario,
    record_of,
    scenario,
)


@event("opened")
class Opened(BaseModel):
    owner: str


@event("noted")
class Noted(RootModel[str]): ...


@event("moved")
class Moved(msgspec.Struct):
    to: str


@event("closed")
@dataclass
class Closed:
    why: str


@dataclass
class State:
    owner: str = ""


@reducer("state", initial=State)
def fold(state: State, record: Record) -> State:
    match record.data:
        case Opened(owner=owner):
            state.owner = assert_type(owner, str)
        case Moved(to=to):
            state.owner = assert_type(to, str)
        case Closed():
            pass
        case _:
            pass
    return state


class AsyncAccount(everlog.AggregateRoot, name="account"):
    owner: str = ""


class Account(AggregateRoot, name="account"):
    owner: str = ""

    def open(self, owner: str) -> Self:
        return assert_type(self.push(Opened(owner=owner)), Self)


projector = Projector()


@projector.once(Opened)
def one(record: Record[Opened]) -> None:
    assert_type(record.data, Opened)


@projector.on(Opened, Moved)
def two(record: Record[Opened | Moved]) -> int:
    return record.position


@projector.all(Opened, Moved, Closed)
def three(record: Record[Opened | Moved | Closed]) -> None: ...


@projector.once(Opened)
def untyped(record: Record) -> None:
    assert_type(record.data, Any)


@projector.on(Opened)
def wider(record: Record[BaseModel]) -> None: ...


@projector.batch("key")
def together(records: Sequence[Record]) -> None: ...


@projector.on(Opened)
def writing(record: Record[Opened], tx: Tx) -> None:
    assert_type(tx.fetch("SELECT 1"), list[tuple[Any, ...]])
    assert_type(tx.execute("SELECT ?", (record.position,)), None)


@projector.on(Opened, Moved)
async def on_the_loop(record: Record[Opened | Moved], tx: everlog.Tx) -> int:
    await tx.execute_many("SELECT ?", [(record.position,)])
    return record.position


@projector.on(Opened)  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
async def not_on_the_loop(record: Record[Opened], tx: Tx) -> None: ...


@projector.once(Opened)  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
def wrong(record: Record[Moved]) -> None: ...


def an_event_is_its_class() -> None:
    assert_type(Opened, type[Opened])
    assert_type(Opened(owner="x").owner, str)
    Opened(owner=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Closed()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_handler_stays_what_it_was(record: Record[Opened], other: Record[Closed]) -> None:
    assert_type(one(record), None)
    assert_type(two(record), int)
    assert_type(three(record), None)
    one(other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def reading(store: EventStore) -> None:
    assert_type(store.read(types=[Opened]), Reading[Opened])
    for record in store.read(types=[Opened]):
        assert_type(record, Record[Opened])
        assert_type(record.data.owner, str)
        assert_type(record.data.owner, int)  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]
    for anything in store.read("stream"):
        assert_type(anything, Record[Any])
    for named in store.read(types=["opened"]):
        assert_type(named, Record[Any])
    for mixed in store.read(types=[Opened, Moved, Closed]):
        match mixed.data:
            case Opened(owner=owner):
                assert_type(owner, str)
            case Moved(to=to):
                assert_type(to, str)
            case _:
                pass
    some: list[type[Any] | str] = [Opened, "moved"]
    assert_type(store.read(types=some), Reading[Any])
    first = store.read(types=[Opened]).first()
    if first is not None:
        token = store.token(first)
        assert_type(token, str)
        assert_type(store.read(types=[Opened], after=token), Reading[Opened])
    assert_type(first, Record[Opened] | None)
    assert_type(store.import_records(store.read(types=[Opened])), Imported)
    assert_type(store.wait(after=3, timeout_s=1), int)


def folding(store: EventStore) -> None:
    assert_type(fold, Reducer[State])
    assert_type(store.reduce(fold, "stream"), State | None)
    assert_type(store.reduce(fold, relation="x", types=[Opened, "moved"]), State | None)
    at = store.snapshots.get(fold, "stream")
    if at is not None:
        assert_type(at.state, State)


def aggregates(store: EventStore) -> None:
    assert_type(store.get(Account, "account-1"), Account | None)
    assert_type(store.new(Account), Account)
    assert_type(store.new(Account).open("me").save(), Account)
    assert_type(store.new(Account).snapshot(), Account)
    assert_type(store.get(AsyncAccount, "account-1"), AsyncAccount | None)
    store.save(store.new(AsyncAccount), store.new(Account))
    assert_type(store.snapshots.create(Account, "a"), StateAt[Account])
    assert_type(store.retrying(Account, "a", lambda account: account.open("me")), Account)
    store.get(State, "x")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def appending(store: EventStore) -> None:
    with EventStore.open("memory:") as opened:
        assert_type(opened, EventStore)
    assert_type(EventStore.open("memory:"), EventStore)
    assert_type(store.verify(), Verification)
    assert_type(projector.replay(store.read()), int)
    assert_type(projector.push(store.append("a", Opened(owner="me"))[0]), None)
    assert_type(store.import_records(record for record in store.read()), Imported)
    assert_type(store.append("a", Opened(owner="me")), list[Record[Any]])
    store.on_appended(projector.handle)


def subscribing(store: EventStore, other: everlog.Projector) -> None:
    with store.subscription("view", projector, on_error=retry(3)) as subscription:
        assert_type(subscription, Subscription)
        assert_type(subscription.caught_up(3), None)
        assert_type(subscription.wait(), None)
    assert_type(store.subscriptions.status(), list[SubscriptionStatus])
    assert_type(store.subscriptions.parked("view"), list[Parked])
    store.subscription("view", other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def nothing_is_awaited(store: EventStore) -> None:
    await store.info()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


def records_vary_with_their_events(record: Record[Opened]) -> None:
    def of_any_model(record: Record[BaseModel]) -> None: ...

    of_any_model(record)


def scenarios() -> None:
    assert_type(record_of(Opened(owner="me")), Record[Opened])
    assert_type(scenario(fold), ReducerScenario[State])
    assert_type(scenario(fold).given(Opened(owner="me")).state, State | None)
    scenario(fold).then("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(scenario(Account), AggregateScenario[Account])
    scenario(Account).when(lambda account: assert_type(account, Account).open("me"))
    assert_type(scenario(Account).aggregate.owner, str)
    assert_type(scenario(projector), ProjectorScenario)
    assert_type(FakeClock()(), int)
