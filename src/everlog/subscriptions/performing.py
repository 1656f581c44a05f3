"""Performing: effects in order within their lanes, side by side across them, beside the reading.

A lane is one handler and one stream. What the database has is the truth; here is only remembered
where there may be something to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from everlog.errors import LeaseLost, StorageError
from everlog.ports.checkpoints import Checkpoints, Held
from everlog.ports.effects import Effect
from everlog.subscriptions.carrying_out import CarryingOut
from everlog.subscriptions.holding import Holding

LOOK_S = 1.0
"""How often, in seconds, it is looked for what is due."""
LANES = 500
"""Lanes that are found by one look."""
LANE_AT_ONCE = 100
"""Effects of one lane that are carried out before others have their turn."""
MOST_READY = 5_000
"""Lanes that are remembered; what is more is found by a look."""
LEAST_S = 0.01
"""Between two tries of a lane, at least."""
PAUSE_S = 0.2
"""Before a lane is tried again that could not go on."""

LaneKey = tuple[str, str]
"""Handler and stream."""

_log = logging.getLogger("everlog")


class Performing:
    """Carries out what one worker owes: `run` until it is cancelled."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        carrying_out: CarryingOut,
        holding: Holding,
        *,
        name: str,
        most: int,
        failed: Callable[[Exception], None],
    ) -> None:
        """`most`: effects side by side; `failed`: told of what ends the worker."""
        self._checkpoints = checkpoints
        self._carrying_out = carrying_out
        self._holding = holding
        self._name = name
        self._most = most
        self._failed = failed
        self._fences: dict[int, int] = {}
        """The slices of which it is known what was begun by nobody who is left."""
        self._leaving: set[int] = set()
        self._ready: dict[LaneKey, int] = {}
        """Lanes in which there may be something to do, and their slices; first come, first."""
        self._later: dict[LaneKey, tuple[float, int]] = {}
        """Lanes in which there will be, and when."""
        self._running: dict[LaneKey, tuple[int, asyncio.Task[None]]] = {}
        self._again: set[LaneKey] = set()
        """Lanes that run, and in which there may be something new."""
        self._behind: LaneKey = ("", "")
        """Where the next look goes on."""
        self._missed = False
        """Whether there were more lanes than are remembered: a look finds them."""
        self._look_at = 0.0
        self._wake = asyncio.Event()
        self._stopping = False

    @property
    def is_busy(self) -> bool:
        """Whether effects are being carried out."""
        return bool(self._running)

    def stop(self) -> None:
        """Begins nothing any more; what has begun goes on."""
        self._stopping = self._carrying_out.stopping = True
        self._wake.set()

    def look_soon(self) -> None:
        """Has the next look be now."""
        self._look_at = 0.0
        self._behind = ("", "")
        self._wake.set()

    async def claimed(self, taken: Iterable[Held]) -> None:
        """Takes in that slices were claimed: what is begun in them, was begun by who is gone."""
        fences = {held.slice: held.fence for held in taken}
        count = await self._checkpoints.mark_ambiguous(
            self._name, fences, but=tuple(self._carrying_out.calling)
        )
        if count:
            _log.warning(
                "subscription %r: %d effects were begun by a worker that is gone, and nobody "
                "knows whether they have happened",
                self._name,
                count,
            )
        self._fences |= fences
        self.look_soon()

    def stay(self) -> None:
        """Takes in that no slice is to be left, as far as is known."""
        self._leaving.clear()

    def may_leave(self, slice: int) -> bool:
        """Begins nothing in a slice any more; returns whether nothing runs in it."""
        self._leaving.add(slice)
        return all(each != slice for each, _ in self._running.values())

    def owed(self, effects: Iterable[Effect]) -> None:
        """Takes in what is owed now."""
        for effect in effects:
            self._put((effect.handler, effect.stream), effect.slice)
        self._wake.set()

    async def run(self) -> None:
        """Carries out effects until it is cancelled; not at all where there are no handlers."""
        while self._carrying_out.has_handlers:
            self._wake.clear()
            try:
                await self._look()
            except (LeaseLost, StorageError) as error:
                _log.warning(
                    "subscription %r cannot look for effects for now: %s", self._name, error
                )
                self._look_at = _now() + LOOK_S
            except Exception as error:
                self._failed(error)
                return
            self._begin()
            try:
                async with asyncio.timeout(max(0.0, self._next_at() - _now())):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def performed(self) -> None:
        """Returns when nothing runs any more, after `stop`."""
        while self._running:
            # Each leaves it by itself, at its end.
            await asyncio.wait([task for _, task in self._running.values()])

    async def end(self) -> None:
        """Calls off what runs. What was being called stays begun, without an outcome."""
        self.stop()
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        """Looks for lanes with something to do, if it is time to, or there were more."""
        more = (self._behind != ("", "") or self._missed) and not self._ready
        if self._stopping or not (more or _now() >= self._look_at):
            return
        slices = [slice for slice in self._fences if self._may_begin(slice)]
        if not slices:
            self._look_at = _now() + LOOK_S
            return
        if self._behind == ("", ""):
            self._look_at = _now() + LOOK_S
            self._missed = False
        found = await self._checkpoints.lanes(
            self._name, slices, within_s=LOOK_S, behind=self._behind, limit=LANES
        )
        now = _now()
        for lane in found:
            key = (lane.handler, lane.stream)
            if lane.due_s <= 0:
                self._put(key, lane.slice)
            else:
                self._later[key] = (now + lane.due_s, lane.slice)
        if len(found) < LANES:
            self._behind = ("", "")
        else:
            self._behind = (found[-1].handler, found[-1].stream)

    def _put(self, key: LaneKey, slice: int) -> None:
        if not self._carrying_out.knows(key[0]):
            return  # of a handler that there is no more
        if key in self._running:
            self._again.add(key)
        elif len(self._ready) < MOST_READY:
            self._ready.setdefault(key, slice)
        else:
            self._missed = True

    def _begin(self) -> None:
        now = _now()
        for key, (at, slice) in list(self._later.items()):
            if at <= now:
                del self._later[key]
                self._put(key, slice)
        while self._ready and len(self._running) < self._most and not self._stopping:
            key = next(iter(self._ready))
            slice = self._ready.pop(key)
            if self._may_begin(slice):
                task = asyncio.get_running_loop().create_task(
                    self._lane(key, slice), name=f"everlog {self._name} {key[0]}"
                )
                self._running[key] = (slice, task)

    def _may_begin(self, slice: int) -> bool:
        return (
            slice not in self._leaving
            and slice in self._holding.slices
            and self._holding.fence(slice) == self._fences.get(slice)
        )

    def _next_at(self) -> float:
        full = len(self._running) >= self._most
        if (self._behind != ("", "") or self._missed) and not self._ready and not full:
            return 0.0
        return min([self._look_at, *(at for at, _ in self._later.values())])

    async def _lane(self, key: LaneKey, slice: int) -> None:
        """Carries out the effects of a lane in order, as long as each is finished."""
        pause_s: float | None = None
        try:
            if not await self._some_of_lane(*key, slice):
                self._again.add(key)
        except (LeaseLost, StorageError) as error:
            _log.info("subscription %r: an effect cannot go on for now: %s", self._name, error)
            pause_s = PAUSE_S
        except Exception as error:
            self._failed(error)
        finally:
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                pause_s = pause_s or 0.0
            if pause_s is not None:
                self._later[key] = (_now() + pause_s, slice)
            self._wake.set()

    async def _some_of_lane(self, handler: str, stream: str, slice: int) -> bool:
        """Returns whether that was all that can be done in the lane now."""
        effects = await self._checkpoints.lane(self._name, handler, stream, limit=LANE_AT_ONCE)
        for effect in effects:
            if self._stopping or not self._may_begin(slice):
                return True
            if not await self._carrying_out.carry_out(effect):
                await self._due_later(handler, stream, slice)
                return True
        return len(effects) < LANE_AT_ONCE

    async def _due_later(self, handler: str, stream: str, slice: int) -> None:
        """Remembers when a lane that does not go on is due, if that is soon."""
        effects = await self._checkpoints.lane(self._name, handler, stream, limit=1)
        for effect in effects:
            if effect.due_s is not None and effect.due_s <= LOOK_S:
                self._later[handler, stream] = (_now() + max(LEAST_S, effect.due_s), slice)


def _now() -> float:
    return asyncio.get_running_loop().time()
