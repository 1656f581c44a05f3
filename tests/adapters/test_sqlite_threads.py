"""The threads under a SQLite ledger: in order, answering the loop, ending when told to."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from everlog.adapters.sqlite.threads import Threads
from tests.scenarios.processes import environment


def names(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_jobs_are_done_in_the_order_in_which_they_were_handed_over() -> None:
    done: list[int] = []

    async def main() -> None:
        threads = Threads(1, name="in-order")
        jobs = [threads.run(done.append, number) for number in range(100)]
        assert names("in-order") == ["in-order_0"]
        await asyncio.gather(*jobs)
        threads.stop(wait=True)
        assert names("in-order") == []

    asyncio.run(main())
    assert done == list(range(100))


def test_what_a_job_raises_is_raised_where_it_is_awaited_and_the_thread_goes_on() -> None:
    async def main() -> None:
        threads = Threads(1, name="raising")
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        with pytest.raises(SystemExit):
            await threads.run(sys.exit, 3)
        assert await threads.run(int, "7") == 7
        threads.stop(wait=True)

    asyncio.run(main())


def test_a_job_that_was_cancelled_before_its_turn_is_not_done_and_one_under_way_is() -> None:
    done: list[str] = []

    async def main() -> None:
        threads = Threads(1, name="cancelled")
        begun, go_on = threading.Event(), threading.Event()

        def first() -> None:
            begun.set()
            go_on.wait(20)
            done.append("first")

        under_way = threads.run(first)
        waiting = threads.run(done.append, "waiting")
        assert await asyncio.to_thread(begun.wait, 20)
        under_way.cancel()
        waiting.cancel()
        go_on.set()
        await threads.run(done.append, "last")
        threads.stop(wait=True)

    asyncio.run(main())
    assert done == ["first", "last"]


def test_several_threads_work_side_by_side() -> None:
    async def main() -> None:
        threads = Threads(2, name="beside")
        meeting = threading.Barrier(2)
        await asyncio.gather(*(threads.run(meeting.wait, 20) for _ in range(2)))
        threads.stop(wait=True)

    asyncio.run(main())


def test_another_thread_begins_only_when_none_is_free() -> None:
    async def main() -> None:
        threads = Threads(3, name="as-needed")
        assert names("as-needed") == []
        for _ in range(20):
            await threads.run(int)
        assert names("as-needed") == ["as-needed_0"]
        go_on = threading.Event()
        held = [threads.run(go_on.wait, 20) for _ in range(9)]
        assert len(names("as-needed")) == 3
        go_on.set()
        assert await asyncio.gather(*held) == [True] * 9
        threads.stop(wait=True)

    asyncio.run(main())


def test_stopping_ends_them_after_what_they_were_handed_and_takes_no_more() -> None:
    done: list[int] = []

    async def main() -> None:
        threads = Threads(1, name="stopping")
        jobs = [threads.run(done.append, number) for number in range(10)]
        threads.stop()
        with pytest.raises(RuntimeError, match="stopped"):
            threads.run(done.append, 11)
        threads.stop(wait=True)
        await asyncio.gather(*jobs)

    asyncio.run(main())
    assert done == list(range(10))


def test_an_answer_to_a_loop_that_was_closed_is_nobodys() -> None:
    threads = Threads(1, name="late-answer")
    go_on = threading.Event()

    async def main() -> None:
        threads.run(go_on.wait, 20)

    asyncio.run(main())
    go_on.set()
    threads.stop(wait=True)
    assert names("late-answer") == []


PROGRAM = """
import asyncio, sys, time
from everlog.adapters.sqlite.threads import Threads
threads = Threads(1, name="unclosed")

def slow(path):
    time.sleep(0.2)
    open(path, "w").write("done")

async def main():
    threads.run(slow, sys.argv[1])

asyncio.run(main())
"""


def test_a_program_that_ends_lets_them_finish_what_they_were_handed(tmp_path: Path) -> None:
    written = tmp_path / "written"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(written)], check=True, timeout=60, env=environment()
    )
    assert written.read_text() == "done"


def test_a_job_that_raises_what_no_future_holds_is_answered() -> None:
    def stops() -> None:  # such as a clock that is an iterator at its end
        raise StopIteration("over")

    async def main() -> None:
        threads = Threads(1, name="stop-iteration")
        async with asyncio.timeout(20):
            with pytest.raises(RuntimeError, match="StopIteration") as caught:
                await threads.run(stops)
        assert isinstance(caught.value.__cause__, StopIteration)
        threads.stop(wait=True)

    asyncio.run(main())


def test_threads_that_are_let_go_of_end() -> None:
    async def main() -> list[threading.Thread]:
        threads = Threads(2, name="forgotten")
        await asyncio.gather(threads.run(int), threads.run(int))
        return [each for each in threading.enumerate() if each.name.startswith("forgotten")]

    left = asyncio.run(main())
    gc.collect()
    for thread in left:
        thread.join(20)
        assert not thread.is_alive()
