"""`for record in store.follow(...)`: what other threads append, until one leaves or closes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog.blocking import EventStore, Following, StoreClosed
from everlog.errors import InvalidInput, MisusedStore
from tests.blocking.notes import EVENTS, PATIENCE_S, Noted, in_threads


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'notes.db'}"
    with EventStore.open(url, events=EVENTS) as store:
        yield store


def test_every_thread_that_follows_sees_every_record_once_and_in_order(store: EventStore) -> None:
    appends, writers = 60, 3
    store.append("before", *[Noted()] * 10)
    whole = 10 + appends * writers
    seen: list[list[int]] = [[], [], []]

    def work(number: int) -> None:
        if number < writers:
            for _ in range(appends):
                store.append(f"s{number}", Noted(number))
            return
        for record in store.follow():
            seen[number - writers].append(record.position)
            if record.position == whole:
                break

    in_threads(writers + len(seen), work)
    assert seen == [[*range(1, whole + 1)]] * 3


def test_left_it_goes_on_behind_what_it_has_handed_out(store: EventStore) -> None:
    records = store.append("a", *[Noted(number) for number in range(5)])
    following = store.follow(types=[Noted])
    for record in following:
        if record.position == 2:
            break
    assert (following.position, following.token) == (2, store.token(records[1]))
    rest = [(next(following).position, following.is_caught_up) for _ in range(3)]
    assert rest == [(3, False), (4, False), (5, True)]
    assert next(store.follow(after=store.token(records[1]))).position == 3


def interrupted_soon() -> None:
    def interrupt() -> None:
        time.sleep(0.1)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    main = threading.current_thread()
    threading.Thread(target=interrupt).start()


def test_ctrl_c_ends_the_wait_and_loses_nothing(store: EventStore) -> None:
    following = store.follow()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for position in (1, 2):
            interrupted_soon()
            with pytest.raises(KeyboardInterrupt):
                next(following)
            store.append("a", Noted(position))
            assert next(following).position == position
    finally:
        signal.signal(signal.SIGINT, before)


def test_closing_the_store_ends_every_thread_that_waits(store: EventStore) -> None:
    errors: list[Exception] = []
    begun = threading.Barrier(5)

    def wait(following: Following[Any], what: int) -> None:
        begun.wait(PATIENCE_S)
        try:
            if what:
                following.caught_up(9)
            else:
                next(following)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=wait, args=(store.follow(), number % 2)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE_S)
    time.sleep(0.05)  # they wait now, or find it closed
    store.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread waits for ever"
    assert [type(error) for error in errors] == [StoreClosed] * 4


def test_caught_up_returns_when_another_thread_was_handed_all(store: EventStore) -> None:
    for turn in range(20):
        after = store.info().position
        following = store.follow(after=after)
        store.append("a", *[Noted()] * 3)

        def follow(following: Following[Noted] = following, last: int = after + 3) -> None:
            for record in following:
                if record.position == last:
                    break

        thread = threading.Thread(target=follow)
        if turn % 2:
            thread.start()
        waiting = threading.Thread(target=following.caught_up)
        waiting.start()
        if not turn % 2:
            time.sleep(0.002)
            thread.start()
        for each in (waiting, thread):
            each.join(PATIENCE_S)
            assert not each.is_alive(), "it waits for ever"
        assert following.position == after + 3


def test_two_threads_at_once_over_one_following_are_refused(store: EventStore) -> None:
    following = store.follow()
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(next(following).position))
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if following._iterating.locked():  # pyright: ignore[reportPrivateUsage]
            break
    with pytest.raises(MisusedStore, match="two threads"):
        next(following)
    store.append("a", Noted())
    thread.join(PATIENCE_S)
    assert got == [1]


def test_what_cannot_be_followed_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidInput):
        store.follow(stream="a", prefix="b")
    with pytest.raises(InvalidInput):
        store.follow(after=-1)
