"""Queues: jobs of one stream in order and one at a time, different streams side by side."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.errors import MisusedStore
from everlog.subscriptions.queues import StreamQueues, nobody_waits
from tests.store.watched import Gate, run, turns

Job = Callable[[], Awaitable[None]]


def test_jobs_of_one_stream_never_overlap_and_different_streams_do() -> None:
    async def main() -> None:
        queues = StreamQueues()
        # Nobody passes unless one job of each stream is inside at the same time.
        barrier = asyncio.Barrier(3)
        inside: list[str] = []
        order: list[tuple[str, int]] = []

        def job(stream: str, number: int) -> Job:
            async def work() -> None:
                assert stream not in inside
                inside.append(stream)
                await barrier.wait()
                await turns(number)
                inside.remove(stream)
                order.append((stream, number))

            return work

        await asyncio.gather(*(queues.put(s, job(s, n)) for n in range(5) for s in ("a", "b", "c")))
        for stream in ("a", "b", "c"):
            assert [number for s, number in order if s == stream] == [0, 1, 2, 3, 4]

    run(main)


streams_and_turns = st.tuples(st.sets(st.sampled_from("abcd"), min_size=1), st.integers(0, 2))


@given(st.lists(streams_and_turns, max_size=25))
def test_each_stream_sees_its_jobs_in_the_order_in_which_they_were_put(
    jobs: list[tuple[set[str], int]],
) -> None:
    async def main() -> None:
        queues, inside, seen = StreamQueues(), set[str](), dict[str, list[int]]()

        def job(number: int, streams: set[str], length: int) -> Job:
            async def work() -> None:
                assert not inside & streams
                inside.update(streams)
                await turns(length)
                inside.difference_update(streams)
                for stream in streams:
                    seen.setdefault(stream, []).append(number)

            return work

        await asyncio.gather(
            *(
                queues.put_across(streams, job(number, streams, length))
                for number, (streams, length) in enumerate(jobs)
            )
        )
        for stream in "abcd":
            expected = [number for number, (streams, _) in enumerate(jobs) if stream in streams]
            assert seen.get(stream, []) == expected

    run(main)


def test_a_job_that_fails_is_told_to_whoever_waits_and_the_next_one_runs() -> None:
    async def main() -> None:
        queues = StreamQueues()

        async def bad() -> None:
            raise ZeroDivisionError

        async def good() -> None:
            pass

        first, second = queues.put("a", bad), queues.put("a", good)
        third, fourth = queues.put_across("ab", bad), queues.put_across("ab", good)
        await asyncio.gather(second, fourth)
        for failed in (first, third):
            with pytest.raises(ZeroDivisionError):
                await failed

    run(main)


def test_jobs_across_streams_in_any_order_never_wait_for_each_other_in_a_circle() -> None:
    async def main() -> None:
        queues, ended = StreamQueues(), list[int]()

        def job(number: int) -> Job:
            async def work() -> None:
                await turns(2)
                ended.append(number)

            return work

        orders = ["abc", "cba", "bca", "acb", "cab", "bac"]
        await asyncio.gather(*(queues.put_across(o, job(n)) for n, o in enumerate(orders)))
        assert ended == list(range(6))

    run(main)


def test_a_job_that_waits_for_another_one_raises_also_by_way_of_other_queues() -> None:
    async def main() -> None:
        queues, other, raised = StreamQueues(), StreamQueues(), list[str]()

        async def nothing() -> None:
            pass

        async def pushing() -> None:
            for stream in "ab":
                with pytest.raises(MisusedStore, match="append the event instead"):
                    await queues.put(stream, nothing)
                raised.append(stream)
            with pytest.raises(MisusedStore, match="append the event instead"):
                await queues.put_across(["a", "b"], nothing)

        async def by_way_of_another() -> None:
            await other.put("c", pushing)

        await queues.put("a", pushing)
        await queues.put("a", by_way_of_another)
        await queues.put_across("ab", pushing)
        assert raised == ["a", "b"] * 3
        await queues.put("a", nothing)
        await queues.put("b", nothing)

    run(main)


def test_a_task_that_outlives_the_job_that_started_it_may_push() -> None:
    async def main() -> None:
        queues, gate, ended = StreamQueues(), Gate(), list[str]()

        async def inner() -> None:
            ended.append("inner")

        async def behind() -> None:
            await gate.passed()
            await queues.put("a", inner)

        async def outer() -> None:
            tasks.append(asyncio.create_task(behind()))

        tasks: list[asyncio.Task[None]] = []
        gate.close()
        await queues.put("a", outer)
        gate.open()
        await asyncio.gather(*tasks)
        assert ended == ["inner"]

    run(main)


def test_another_projector_may_be_at_work_on_the_same_stream() -> None:
    async def main() -> None:
        one, other, ended = StreamQueues(), StreamQueues(), list[str]()

        async def inner() -> None:
            ended.append("inner")

        async def outer() -> None:
            await other.put("a", inner)
            ended.append("outer")

        await one.put("a", outer)
        assert ended == ["inner", "outer"]

    run(main)


def test_what_a_job_starts_and_does_not_wait_for_may_push_to_its_stream() -> None:
    async def main() -> None:
        queues, ended, tasks = StreamQueues(), list[str](), list[asyncio.Task[None]]()

        async def inner() -> None:
            ended.append("inner")

        async def behind() -> None:
            nobody_waits()
            await queues.put("a", inner)

        async def outer() -> None:
            tasks.append(asyncio.create_task(behind()))
            await turns()
            ended.append("outer")

        await queues.put("a", outer)
        await asyncio.gather(*tasks)
        assert ended == ["outer", "inner"]

    run(main)


def test_a_job_runs_in_the_context_it_was_put_from() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    async def main() -> None:
        queues, seen, gate = StreamQueues(), list[str](), Gate()

        async def job() -> None:
            await gate.passed()
            seen.append(user.get())
            user.set("changed by a job")

        async def put(name: str) -> None:
            user.set(name)
            await queues.put("a", job)

        gate.close()
        tasks = [asyncio.create_task(put(name)) for name in ("jane", "john")]
        await gate.reached.wait()
        gate.open()
        await asyncio.gather(*tasks)
        assert seen == ["jane", "john"]

    run(main)


def test_a_caller_who_gives_up_waiting_cancels_its_job_and_not_the_queue() -> None:
    async def main() -> None:
        queues, gate, ended = StreamQueues(), Gate(), list[str]()

        async def job() -> None:
            await gate.passed()
            ended.append("job")

        async def put() -> None:
            await queues.put("a", job)

        gate.close()
        task = asyncio.create_task(put())
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        await queues.put("a", job)
        assert ended == ["job"]

    run(main)


def test_a_stream_that_has_nothing_to_do_costs_nothing() -> None:
    async def main() -> None:
        queues = StreamQueues()

        async def nothing() -> None:
            pass

        await asyncio.gather(*(queues.put(f"s{n}", nothing) for n in range(1000)))
        await turns()
        assert not queues._loops  # pyright: ignore[reportPrivateUsage]

    run(main)


def test_queues_that_do_not_queue_are_seen_to_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_at_once(self: StreamQueues, stream: str, job: Job) -> asyncio.Future[None]:
        async def start() -> None:
            await job()

        return asyncio.ensure_future(start())

    monkeypatch.setattr(StreamQueues, "put", put_at_once)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_jobs_of_one_stream_never_overlap_and_different_streams_do()


def test_a_job_that_cancels_its_own_task_stops_neither_the_worker_nor_the_jobs_behind_it() -> None:
    async def main() -> None:
        queues, ended = StreamQueues(), list[str]()

        async def suicidal() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        async def good() -> None:
            ended.append("good")

        first, second = queues.put("a", suicidal), queues.put("a", good)
        across, behind = queues.put_across("ab", suicidal), queues.put_across("ba", good)
        await asyncio.gather(second, behind)
        assert ended == ["good", "good"]
        assert first.cancelled()
        assert across.cancelled()

    run(main)


@pytest.mark.parametrize("dropped", ["a", "b", "c"])
@pytest.mark.parametrize("running", [False, True])
def test_a_stream_that_drops_out_of_a_job_across_streams_releases_the_others(
    dropped: str, running: bool
) -> None:
    async def main() -> None:
        queues, gate, ended = StreamQueues(), Gate(), list[str]()

        async def held_up() -> None:
            await gate.passed()

        async def nothing() -> None:
            ended.append("behind")

        gate.close()
        if not running:
            queues.put("c", held_up)
        across = queues.put_across("abc", held_up)
        await gate.reached.wait()
        await turns()
        behind = [queues.put(stream, nothing) for stream in "abc" if stream != dropped]
        worker_of(queues, dropped).cancel()
        await turns()
        gate.open()
        await asyncio.gather(*behind)
        assert across.cancelled()
        assert len(ended) == 2

    run(main)


def worker_of(queues: StreamQueues, stream: str) -> asyncio.Task[None]:
    of_loop = queues._loops[asyncio.get_running_loop()]  # pyright: ignore[reportPrivateUsage]
    worker = of_loop[stream].worker
    assert worker is not None
    return worker


def test_whoever_cancels_a_job_waits_until_it_has_ended_and_the_next_one_starts_behind_it() -> None:
    async def main() -> None:
        queues, gate, ended = StreamQueues(), Gate(), list[str]()

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await gate.passed()
                ended.append("cancelled")

        async def never_begun() -> None:
            ended.append("never")

        async def nothing() -> None:
            ended.append("next")

        gate.close()
        first, second, third = (queues.put("a", j) for j in (slow_to_end, never_begun, nothing))
        await turns()
        first.cancel()
        second.cancel()
        await gate.reached.wait()
        await turns()
        assert second.cancelled()
        assert not first.done()
        assert ended == []
        gate.open()
        await third
        assert first.cancelled()
        assert ended == ["cancelled", "next"]

    run(main)


def test_jobs_across_streams_that_are_cancelled_hold_them_until_the_job_has_ended() -> None:
    async def main() -> None:
        queues, gate, ended = StreamQueues(), Gate(), list[str]()

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await gate.passed()
                ended.append("cancelled")

        async def nothing() -> None:
            ended.append("next")

        gate.close()
        across = queues.put_across("ab", slow_to_end)
        behind = [queues.put(stream, nothing) for stream in "ab"]
        await turns()
        across.cancel()
        await gate.reached.wait()
        await turns()
        assert ended == []
        gate.open()
        await asyncio.gather(*behind)
        assert ended == ["cancelled", "next", "next"]

    run(main)


def test_queues_of_a_loop_that_died_are_forgotten() -> None:
    queues, ended = StreamQueues(), list[str]()

    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def begin() -> None:
        queues.put("a", for_ever)
        queues.put_across("ab", for_ever)
        await turns()

    async def good() -> None:
        ended.append("good")

    async def main() -> None:
        await queues.put("a", good)
        await queues.put_across("ab", good)

    for close in (True, False):
        loop = asyncio.new_event_loop()
        with warnings.catch_warnings(action="ignore"):
            loop.run_until_complete(begin())
            if close:
                loop.close()
            run(main)
        loop.close()
    run(main)
    gc.collect()  # which ends what the loops left behind, and nothing of it raises
    assert ended == ["good"] * 6
    assert not queues._loops  # pyright: ignore[reportPrivateUsage]


def test_two_live_loops_keep_each_its_order() -> None:
    queues, both = StreamQueues(), threading.Barrier(2, timeout=20)

    async def main() -> None:
        ended, inside = list[int](), set[int]()
        await asyncio.to_thread(both.wait)

        def job(number: int) -> Job:
            async def work() -> None:
                assert not inside
                inside.add(number)
                await turns(2)
                inside.remove(number)
                ended.append(number)

            return work

        await asyncio.gather(*(queues.put("a", job(number)) for number in range(200)))
        assert ended == list(range(200))

    with ThreadPoolExecutor(2) as threads:
        for running in [threads.submit(run, main) for _ in range(2)]:
            running.result()
    assert not queues._loops  # pyright: ignore[reportPrivateUsage]
