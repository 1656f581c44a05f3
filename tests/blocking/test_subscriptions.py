"""`with store.subscription(...)`: a read model from a plain program, to the end of its threads."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import everlog
from everlog.blocking import EventStore, Projector, Record, Tx, retry
from everlog.errors import HandlerFailed, InvalidInput, MisusedStore, NotFound
from tests.blocking.notes import EVENTS, PATIENCE_S, Noted, in_threads


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'notes.db'}"
    with EventStore.open(url, events=EVENTS) as store:
        yield store


class Rows:
    """A read model, and what is in it after each record."""

    def __init__(
        self, fails: Callable[[int], bool] = lambda number: False, *, table: str = "handled"
    ) -> None:
        self.projector = Projector()
        self.seen: list[list[int]] = []

        @self.projector.all(Noted)
        def write(record: Record[Noted], tx: Tx) -> None:
            tx.execute(f"CREATE TABLE IF NOT EXISTS {table} (position PRIMARY KEY, number)")
            values = (record.position, record.data.number)
            tx.execute_many(f"INSERT INTO {table} VALUES (?, ?)", [values])
            rows = tx.fetch(f"SELECT number FROM {table} ORDER BY position")
            if fails(record.data.number):
                raise RuntimeError("no")
            self.seen.append([number for [number] in rows])

    @property
    def last(self) -> list[int]:
        return self.seen[-1]


def note(store: EventStore, *numbers: int) -> int:
    return store.append("a", *(Noted(number) for number in numbers))[-1].position


def test_a_def_handler_writes_in_the_transaction_of_the_checkpoint(store: EventStore) -> None:
    rows = Rows()
    note(store, 1, 2)
    with store.subscription("view", rows.projector) as subscription:
        subscription.caught_up(note(store, 3))
        assert rows.last == [1, 2, 3]
        assert (subscription.name, subscription.is_running) == ("view", True)
    assert not subscription.is_running
    note(store, 4)
    with store.subscription("view", rows.projector) as subscription:
        subscription.caught_up()
    assert rows.last == [1, 2, 3, 4]
    [status] = store.subscriptions.status()
    assert (status.name, status.lag, status.parked) == ("view", 0, 0)


def test_what_fails_is_parked_retried_and_dropped_by_plain_calls(store: EventStore) -> None:
    broken = {2, 4}
    rows = Rows(lambda number: number in broken)
    for number in range(6):
        store.append(f"s-{number}", Noted(number))
    with store.subscription("view", rows.projector, on_error="park") as subscription:
        subscription.caught_up()
        assert rows.last == [0, 1, 3, 5]
        assert [parked.position for parked in store.subscriptions.parked("view")] == [3, 5]
        broken.clear()
        assert store.subscriptions.retry("view", stream="s-2") == 1
        assert store.subscriptions.drop("view", position=5) == 1
        deadline = time.monotonic() + PATIENCE_S
        while rows.last != [0, 1, 2, 3, 5] and time.monotonic() < deadline:
            time.sleep(0.01)
    assert rows.last == [0, 1, 2, 3, 5]
    assert [parked.status for parked in store.subscriptions.parked("view")] == ["dropped"]
    with pytest.raises(NotFound):
        store.subscriptions.remove("other")
    store.subscriptions.remove("view")
    assert store.subscriptions.status() == []


def test_an_effect_is_declared_with_all_that_it_takes(
    store: EventStore,
) -> None:
    projector, sent = Projector(), list[int]()

    def verify(record: Record[Noted]) -> bool:
        return False

    @projector.once(Noted, name="mail", idempotent=True)
    def mail(record: Record[Noted]) -> int:
        sent.append(record.data.number)
        return record.data.number

    @projector.once(Noted, name="sms", on_ambiguous=verify)
    def text(record: Record[Noted]) -> None:
        sent.append(-record.data.number)

    with store.subscription("mails", projector, effects_at_once=1) as subscription:
        note(store, 1, 2)
        subscription.caught_up()
        deadline = time.monotonic() + PATIENCE_S
        while len(sent) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert sorted(sent) == [-2, -1, 1, 2]
    effects = store.subscriptions.effects("mails")
    assert {(each.handler, each.status) for each in effects} == {("mail", "done"), ("sms", "done")}
    with pytest.raises(InvalidInput, match="effects_at_once"):
        store.subscription("mails", projector, effects_at_once=0)


def test_a_handler_that_hangs_is_cut_off_and_left_behind(store: EventStore) -> None:
    go_on, said = threading.Event(), list[BaseException]()
    projector = Projector()

    @projector.all(Noted)
    def write(record: Record[Noted], tx: Tx) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS handled (number)")
        tx.execute("INSERT INTO handled VALUES (?)", (record.data.number,))
        if record.data.number == 2:
            go_on.wait()
            try:
                tx.fetch("SELECT 1")
            except MisusedStore as error:
                said.append(error)

    def swap(tx: Tx) -> None: ...

    store.append("a", Noted(1))
    store.append("b", Noted(2))
    store.append("c", Noted(3))
    for value in (0, -1.0, float("nan"), True):
        with pytest.raises(InvalidInput, match="handler_timeout_s"):
            store.subscription("view", projector, handler_timeout_s=value)
        with pytest.raises(InvalidInput, match="handler_timeout_s"):
            store.rebuild("view", projector, version=2, swap=swap, handler_timeout_s=value)
    # Tried twice: a busy machine may hold up one that does not hang.
    policy = retry(2, first_s=0.01)
    try:
        with store.subscription(
            "view", projector, on_error=policy, handler_timeout_s=1.0
        ) as subscription:
            subscription.caught_up()
            deadline = time.monotonic() + PATIENCE_S
            while True:
                [row] = store.subscriptions.parked("view")
                if row.status == "parked":
                    break
                assert time.monotonic() < deadline, row
                time.sleep(0.01)
        assert (row.stream, row.error.split(":")[0]) == ("b", "HandlerTimedOut")
    finally:
        go_on.set()
    in_time = time.monotonic() + PATIENCE_S
    while len(said) < 3 and time.monotonic() < in_time:
        time.sleep(0.01)
    assert all("left behind" in str(error) for error in said)
    assert len(said) == 3


def test_a_handler_may_use_the_store(store: EventStore) -> None:
    projector = Projector()

    @projector.all(Noted)
    def answer(record: Record[Noted]) -> None:
        if record.data.number < 5:
            store.append("a", Noted(record.data.number + 1))

    with store.subscription("echo", projector) as subscription:
        note(store, 0)
        for position in range(1, 7):
            subscription.caught_up(position)
    assert [record.data.number for record in store.read(types=[Noted])] == [0, 1, 2, 3, 4, 5]


def test_an_async_handler_has_the_async_transaction(store: EventStore) -> None:
    projector, seen = Projector(), list[int]()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: everlog.Tx) -> None:
        await tx.execute("CREATE TABLE IF NOT EXISTS handled (position)")
        [[count]] = await tx.fetch("SELECT count(*) FROM handled")
        seen.append(count)

    note(store, 1, 2)
    with store.subscription("view", projector) as subscription:
        subscription.caught_up()
    assert seen == [0, 0]


def interrupted_when(told: threading.Event) -> None:
    """Interrupts the calling thread when something has happened, and it waits again."""

    def interrupt() -> None:
        assert told.wait(PATIENCE_S)
        time.sleep(0.05)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    main = threading.current_thread()
    threading.Thread(target=interrupt).start()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_wait_and_leaves_nothing_running(store: EventStore) -> None:
    handled = threading.Event()
    projector = Projector()

    @projector.all(Noted)
    def tell(record: Record[Noted]) -> None:
        handled.set()

    note(store, 1)
    subscription = store.subscription("view", projector)
    interrupted_when(handled)
    with pytest.raises(KeyboardInterrupt), subscription:
        subscription.wait()
    assert not subscription.is_running
    handled.clear()
    note(store, 2)
    assert not handled.wait(0.2), "something still works"
    [status] = store.subscriptions.status()
    assert (status.position, status.workers) == (1, ()), "it has let go, for the next to go on"
    with store.subscription("view", projector) as another:
        another.caught_up(timeout_s=5)
    assert handled.is_set()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_handler_works_waits_for_it_and_commits_it(store: EventStore) -> None:
    began, rows = threading.Event(), Rows()

    @rows.projector.all(Noted)
    def work(record: Record[Noted]) -> None:
        began.set()
        time.sleep(0.3)

    note(store, 1, 2)
    interrupted_when(began)
    with (
        pytest.raises(KeyboardInterrupt),
        store.subscription("view", rows.projector) as subscription,
    ):
        subscription.wait()
    assert rows.last == [1]
    [status] = store.subscriptions.status()
    assert status.position == 1


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_on_the_way_in_starts_nothing(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows()
    subscription = store.subscription("view", rows.projector)
    inner = subscription._subscription  # pyright: ignore[reportPrivateUsage]
    genuine, main = inner.__aenter__, threading.current_thread()

    async def enter() -> object:
        entered = await genuine()
        signal.pthread_kill(main.ident or 0, signal.SIGINT)  # it was just started
        time.sleep(0.05)  # noqa: ASYNC251 - the loop is to be held up
        return entered

    monkeypatch.setattr(inner, "__aenter__", enter)
    with pytest.raises(KeyboardInterrupt):
        subscription.__enter__()
    assert not subscription.is_running


def test_a_subscription_that_fails_raises_where_it_is_waited_for(store: EventStore) -> None:
    rows = Rows(lambda number: number == 2)
    note(store, 1, 2)
    policy = retry(2, first_s=0.01, then="stop")
    with (
        pytest.raises(HandlerFailed),
        store.subscription("view", rows.projector, on_error=policy) as subscription,
    ):
        subscription.wait()
    assert rows.last == [1]


def test_any_number_of_threads_may_wait_for_one_subscription(store: EventStore) -> None:
    rows = Rows()
    with store.subscription("view", rows.projector) as subscription:

        def work(number: int) -> None:
            for _ in range(5):
                subscription.caught_up(note(store, number))
                assert number in rows.last

        in_threads(4, work)
    assert len(rows.last) == 20


def test_more_subscriptions_than_threads_for_handlers_all_get_on(store: EventStore) -> None:
    models = [Rows(table=f"view_{number}") for number in range(12)]
    running = [
        store.subscription(f"view-{number}", model.projector) for number, model in enumerate(models)
    ]
    for subscription in running:
        subscription.__enter__()
    last = note(store, 1, 2, 3)
    try:
        for subscription in running:
            subscription.caught_up(last, timeout_s=10)
    except TimeoutError:
        pytest.fail("they wait for each other")
    assert [model.last for model in models] == [[1, 2, 3]] * 12
    store.close()  # stops them all
    assert not any(subscription.is_running for subscription in running)


def test_what_is_no_projector_of_this_face_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidInput, match="is no Projector"):
        store.subscription("view", print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with (
        pytest.raises(InvalidInput, match="started once"),
        store.subscription("view", Rows().projector) as subscription,
    ):
        subscription.__enter__()


def test_two_different_projectors_under_one_name_are_refused(store: EventStore) -> None:
    one, other = Rows(), Projector()

    @other.on(Noted)
    def another(record: Record[Noted]) -> None: ...

    with store.subscription("view", one.projector):
        with pytest.raises(InvalidInput, match="other handlers"), store.subscription("view", other):
            pass
        [status] = store.subscriptions.status()
        assert status.waiting == ()
    with pytest.raises(NotFound, match="'veiw'"):
        store.subscriptions.retry("veiw")
    with pytest.raises(NotFound, match="'veiw'"):
        store.subscriptions.drop("veiw")
    with pytest.raises(NotFound, match="no subscription 'veiw'"):
        store.subscriptions.settle("veiw", 1, as_="done")
