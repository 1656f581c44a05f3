"""What type checkers say of programs on everlog. Never run: `test_types.py` has it checked.

Where a line must be an error it carries both checkers' ignores; one that is not needed is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, assert_type

import msgspec
from pydantic import BaseModel, RootModel

from everlog import (
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
    blocking,
    event,
    reducer,
    retry,
)
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


class Account(AggregateRoot, name="account"):
    owner: str = ""

    def open(self, owner: str) -> Self:
        return assert_type(self.push(Opened(owner=owner)), Self)


projector = Projector()


@projector.once(Opened)
async def one(record: Record[Opened]) -> None:
    assert_type(record.data, Opened)


@projector.on(Opened, Moved)
async def two(record: Record[Opened | Moved]) -> int:
    return record.position


@projector.all(Opened, Moved, Closed)
def three(record: Record[Opened | Moved | Closed]) -> None: ...


@projector.once(Opened)
async def untyped(record: Record) -> None:
    assert_type(record.data, Any)


@projector.on(Opened)
async def wider(record: Record[BaseModel]) -> None: ...


@projector.batch("key")
async def together(records: Sequence[Record]) -> None: ...


@projector.state(fold, Opened, Moved)
async def shown(state: State, record: Record[Opened | Moved], tx: Tx) -> None: ...


@projector.state(fold, Opened, Moved, Closed)
def shown_from_a_thread(state: State, record: Record) -> None: ...


@projector.state(fold)
async def shown_of_all(state: State, record: Record) -> int:
    return record.position


def states_that_do_not_fit() -> None:
    @projector.state(fold, Opened)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
    async def of_another_state(state: str, record: Record) -> None: ...

    @projector.state(fold, Opened)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
    async def of_another_event(state: State, record: Record[Moved]) -> None: ...

    projector.state(Opened)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


@projector.on(Opened)
async def writing(record: Record[Opened], tx: Tx) -> int:
    assert_type(await tx.fetch("SELECT 1"), list[tuple[Any, ...]])
    return record.position


@projector.on(Opened, Moved)
def from_a_thread(record: Record[Opened | Moved], tx: blocking.Tx) -> None:
    assert_type(tx.fetch("SELECT 1"), list[tuple[Any, ...]])


@projector.on(Opened)  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
def not_awaited(record: Record[Opened], tx: Tx) -> None: ...


@projector.on(Opened)  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
async def not_from_a_thread(record: Record[Opened], tx: blocking.Tx) -> None: ...


@projector.once(Opened)  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
async def wrong(record: Record[Moved]) -> None: ...


def an_event_is_its_class() -> None:
    assert_type(Opened, type[Opened])
    assert_type(Opened(owner="x").owner, str)
    Opened(owner=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Closed()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def a_handler_stays_what_it_was(record: Record[Opened], other: Record[Closed]) -> None:
    # pyright says CoroutineType, mypy Coroutine: so what comes of a call is asserted.
    assert_type(await one(record), None)
    assert_type(await shown_of_all(State(), record), int)
    assert_type(await two(record), int)
    assert_type(three(record), None)
    await one(other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def reading(store: EventStore) -> None:
    assert_type(store.read(types=[Opened]), Reading[Opened])
    async for record in store.read(types=[Opened]):
        assert_type(record, Record[Opened])
        assert_type(record.data.owner, str)
        assert_type(record.data.owner, int)  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]
    async for anything in store.read("stream"):
        assert_type(anything, Record[Any])
    async for named in store.read(types=["opened"]):
        assert_type(named, Record[Any])
    async for mixed in store.read(types=[Opened, Moved, Closed]):
        match mixed.data:
            case Opened(owner=owner):
                assert_type(owner, str)
            case Moved(to=to):
                assert_type(to, str)
            case _:
                pass
    some: list[type[Any] | str] = [Opened, "moved"]
    assert_type(store.read(types=some), Reading[Any])
    first = await store.read(types=[Opened]).first()
    if first is not None:
        token = store.token(first)
        assert_type(token, str)
        assert_type(store.read(types=[Opened], after=token), Reading[Opened])
    assert_type(first, Record[Opened] | None)
    assert_type(await store.import_records(store.read(types=[Opened])), Imported)
    assert_type(await store.wait(after=3, timeout_s=1), int)


async def folding(store: EventStore) -> None:
    assert_type(fold, Reducer[State])
    assert_type(await store.reduce(fold, "stream"), State | None)
    assert_type(await store.reduce(fold, relation="x", types=[Opened, "moved"]), State | None)
    at = await store.snapshots.get(fold, "stream")
    if at is not None:
        assert_type(at.state, State)


async def aggregates(store: EventStore) -> None:
    assert_type(await store.get(Account, "account-1"), Account | None)
    assert_type(store.new(Account), Account)
    assert_type(await store.new(Account).open("me").save(), Account)
    assert_type(await store.retrying(Account, "a", lambda account: account.open("me")), Account)
    await store.get(State, "x")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def appending(store: EventStore) -> None:
    assert_type(await store.append("a", Opened(owner="me")), list[Record[Any]])
    store.on_appended(projector.handle)


async def subscribing(store: EventStore) -> None:
    async with store.subscription("view", projector, on_error=retry(3)) as subscription:
        assert_type(subscription, Subscription)
        assert_type(await subscription.caught_up(3), None)
    assert_type(await store.subscriptions.status(), list[SubscriptionStatus])
    assert_type(await store.subscriptions.parked("view"), list[Parked])
    store.subscription("view", projector, on_error="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


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
