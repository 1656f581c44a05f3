"""Ids that several threads make are all different."""

from __future__ import annotations

import threading
from contextlib import suppress

from everlog.store.ids import IdSource


def test_threads_that_ask_in_the_same_moment_get_different_ids() -> None:
    """Each is held where the other would come between; who is kept out is not waited for."""
    meeting = threading.Barrier(2)

    class Moment(int):
        def __gt__(self, other: int) -> bool:
            later = int(self) > other
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.2)
            return later

    ids = IdSource(lambda: Moment(1_769_860_800_000), lambda count: bytes(count))
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(ids.next())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 2
    assert ids.next() > max(made)
