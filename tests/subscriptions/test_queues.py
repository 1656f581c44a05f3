"""Queues: jobs of one stream in order and one at a time, different streams side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


def test_a_job_that_would_wait_for_itself_raises_also_by_way_of_others() -> None:
    async def main() -> None:
        queues, raised = StreamQueues(), list[str]()

        async def nothing() -> None:
            pass

        def pushing(*streams: str) -> Job:
            async def work() -> None:
                if len(streams) == 1:
                    with pytest.raises(MisusedStore, match=streams[0]):
                        await queues.put(streams[0], nothing)
                    raised.append(streams[0])
                else:
                    await queues.put(streams[0], pushing(*streams[1:]))

            return work

        await queues.put("a", pushing("a"))
        await queues.put("a", pushing("b", "c", "a"))
        await queues.put_across("ab", pushing("b"))
        assert raised == ["a", "a", "b"]
        await queues.put("a", nothing)

    run(main)


def test_a_refused_job_across_streams_leaves_none_of_them_blocked() -> None:
    async def main() -> None:
        queues = StreamQueues()

        async def nothing() -> None:
            pass

        async def across() -> None:
            with pytest.raises(MisusedStore):
                await queues.put_across(["a", "b"], nothing)

        await queues.put("b", across)
        await queues.put("a", nothing)
        await queues.put("b", nothing)

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


def test_a_caller_who_gives_up_waiting_does_not_stop_the_job_or_the_queue() -> None:
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
        assert ended == ["job", "job"]

    run(main)


def test_a_stream_that_has_nothing_to_do_costs_nothing() -> None:
    async def main() -> None:
        queues = StreamQueues()

        async def nothing() -> None:
            pass

        await asyncio.gather(*(queues.put(f"s{n}", nothing) for n in range(1000)))
        await turns()
        assert not queues._queues  # pyright: ignore[reportPrivateUsage]
        assert not queues._tasks  # pyright: ignore[reportPrivateUsage]

    run(main)


def test_queues_that_do_not_queue_are_seen_to_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_at_once(self: StreamQueues, stream: str, job: Job) -> asyncio.Future[None]:
        async def start() -> None:
            await job()

        return asyncio.ensure_future(start())

    monkeypatch.setattr(StreamQueues, "put", put_at_once)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_jobs_of_one_stream_never_overlap_and_different_streams_do()
