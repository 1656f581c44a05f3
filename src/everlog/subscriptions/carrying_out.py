"""Carrying out: what is done for one effect, and how each step of it is written down.

A call is between two commits: that it is about to be made, and how it has ended. Whatever dies in
between leaves the first without the second, and that is known of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Literal, cast

from everlog.core.portable import canonical, parse
from everlog.core.record import Record
from everlog.core.selection import Selection
from everlog.errors import (
    HandlerFailed,
    HandlerTimedOut,
    InvalidInput,
    LeaseLost,
    LogDiverged,
    NotPortable,
    StorageError,
)
from everlog.ports.checkpoints import Checkpoints
from everlog.ports.effects import Change, Effect, EffectStatus
from everlog.ports.ledger import Ledger
from everlog.subscriptions.calling import name_of
from everlog.subscriptions.calling_in_time import CallingInTime
from everlog.subscriptions.causation import handling
from everlog.subscriptions.effects import AppendOutcome, Outcome, outcome_id
from everlog.subscriptions.holding import Holding
from everlog.subscriptions.obligations import EffectHandler, Obligations, takes_outcome
from everlog.subscriptions.parking import text_of
from everlog.subscriptions.policies import retry

DEATHS = 3
"""An effect is begun so often, at least, before it is taken for what killed its workers."""
TELL_S = 60.0
"""For so long, in seconds, it is tried to write down how a call has ended."""
STOPPING_S = 5.0
"""The same, of a worker that is to end."""

_log = logging.getLogger("everlog")


class CarryingOut:
    """Carries out effects, one step after the other, for the worker that holds their slices."""

    def __init__(
        self,
        ledger: Ledger,
        checkpoints: Checkpoints,
        decoder: Any,
        *,
        name: str,
        obligations: Obligations,
        policy: retry,
        holding: Holding,
        append: AppendOutcome,
        calling: CallingInTime,
    ) -> None:
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._decoder = decoder
        self._name = name
        self._obligations = obligations
        self._policy = policy
        self._holding = holding
        self._append = append
        self._calling = calling
        self._asked: dict[tuple[str, int], int] = {}
        """How often it was tried in vain to find out about an effect."""
        self.calling: set[tuple[str, int]] = set()
        """Handler and position of what was begun here, and is not written down as ended."""
        self.stopping = False
        """Whether the worker is to end soon."""

    @property
    def has_handlers(self) -> bool:
        """Whether anything can be carried out at all."""
        return self._obligations.has_handlers

    def knows(self, handler: str) -> bool:
        """Returns whether there is a handler of this name."""
        return self._obligations.handler(handler) is not None

    async def carry_out(self, effect: Effect) -> bool:
        """Does what is to be done for an effect; returns whether it is finished.

        Raises `LeaseLost` and `StorageError` where it cannot be done now, `HandlerFailed` where the
        policy is to stop, `HandlersLeftBehind`.
        """
        self._calling.check()
        handler = self._obligations.handler(effect.handler)
        if handler is None or effect.due_s is None or effect.due_s > 0:
            return False
        record = await self._record_of(effect)
        match effect.status:
            case "succeeded":
                return await self._go_on_from_success(effect, handler, record)
            case "ambiguous":
                return await self._resolve(effect, handler, record)
            case "pending" | "retrying":
                return await self._attempt(effect, handler, record)
            case _:
                return False

    # --- the call ---

    async def _attempt(self, effect: Effect, handler: EffectHandler, record: Record[Any]) -> bool:
        if effect.status == "ambiguous":
            if effect.tries >= self._most_tries:
                died = (
                    f"its worker died, or it was cut off, in each of {effect.tries} tries; nobody "
                    "knows of the last"
                )
                await self._change(effect, "ambiguous", due_s=None, error=died)
                return False
        elif effect.tries >= self._policy.times:  # its `on_error` is to come
            error = RuntimeError(effect.error)
            counted = effect.tries + 1
            if not await self._change(effect, "retrying", tries=counted, error=effect.error):
                return False
            if counted > self._policy.times + max(self._policy.times, DEATHS):
                return await self._park(record, effect, "retrying", counted, error)
            return await self._tell_failure(effect, handler, record, error, counted)
        tries = effect.tries + 1
        if not self._holding.is_safe:
            raise LeaseLost(f"a lease of subscription {self._name!r} may have run out")
        key = effect.handler, effect.position
        self.calling.add(key)
        try:
            if not await self._change(effect, "intent", tries=tries, due_s=None):
                return False  # a person has settled it meanwhile
            try:
                with handling(record):
                    result: object = await self._calling.call(handler.handler, record)
            except HandlerTimedOut as error:
                return await self._cut_off(effect, handler, record, error, tries)
            except Exception as error:
                return await self._failed(effect, handler, record, error, tries)
            text, said = _as_json(result, record, handler)
            if not await self._succeeded(effect, handler, "intent", tries, text, said):
                return False
        finally:
            self.calling.discard(key)
        return handler.on_success is None or await self._finish(
            effect, handler, record, text, said, tries=0
        )

    @property
    def _most_tries(self) -> int:
        """So often one is called that leaves no outcome."""
        return max(self._policy.times, DEATHS)

    async def _cut_off(
        self,
        effect: Effect,
        handler: EffectHandler,
        record: Record[Any],
        error: HandlerTimedOut,
        tries: int,
    ) -> bool:
        """Writes down of a call that took too long that nobody knows whether it has happened."""
        self._report(record, handler, error, tries, "ambiguous")
        waits = handler.on_ambiguous == "park" or (
            handler.on_ambiguous == "retry" and tries >= self._most_tries
        )
        # A pause, as what was begun may still be going on.
        due_s = None if waits else self._pause_s(tries)
        text = text_of(error)
        await self._tell(effect, "intent", tries, "ambiguous", tries, due_s=due_s, error=text)
        return False

    async def _failed(
        self,
        effect: Effect,
        handler: EffectHandler,
        record: Record[Any],
        error: Exception,
        tries: int,
    ) -> bool:
        """Does what the policy says of a call that failed: it is taken as not having happened."""
        text = text_of(error)
        if tries < self._policy.times:
            self._report(record, handler, error, tries, "retrying")
            due_s = self._pause_s(tries)
            await self._tell(effect, "intent", tries, "retrying", tries, due_s=due_s, error=text)
            return False
        if handler.on_error is not None:
            told = await self._tell(effect, "intent", tries, "retrying", tries, error=text)
            return told and await self._tell_failure(effect, handler, record, error, tries)
        match self._policy.then:
            case "park":
                return await self._park(record, effect, "intent", tries, error)
            case "skip":
                self._report(record, handler, error, tries, "dropped")
                return await self._tell(
                    effect, "intent", tries, "dropped", tries, due_s=None, error=text
                )
            case "stop":
                await self._tell(effect, "intent", tries, "retrying", 0, error=text)
                raise HandlerFailed(handler.name, [record.id]) from error

    async def _tell_failure(
        self,
        effect: Effect,
        handler: EffectHandler,
        record: Record[Any],
        error: Exception,
        tries: int,
    ) -> bool:
        """Runs `on_error`, for an effect that stands as `retrying` with all its tries made.

        Further tries are those of `on_error`.
        """
        if handler.on_error is None:  # it was there when the effect failed
            return await self._park(record, effect, "retrying", tries, error)
        try:
            await self._with_outcome(handler, record, "error", handler.on_error, error)
        except _NotNow as not_now:
            raise not_now.error from None
        except Exception as failure:
            made = tries - self._policy.times + 1
            if made >= self._policy.times:
                return await self._park(record, effect, "retrying", tries, failure)
            self._report(record, handler, failure, made, "failed, its on_error retrying")
            due_s = self._pause_s(made)
            text = text_of(error)
            await self._tell(effect, "retrying", tries, "retrying", tries, due_s=due_s, error=text)
            return False
        text = text_of(error)
        return await self._tell(effect, "retrying", tries, "failed", tries, due_s=None, error=text)

    async def _park(
        self,
        record: Record[Any],
        effect: Effect,
        before: EffectStatus,
        tries: int,
        error: Exception,
    ) -> bool:
        self._report(record, self._obligations.handler(effect.handler), error, tries, "parked")
        text = text_of(error)
        await self._tell(effect, before, tries, "parked", tries, due_s=None, error=text)
        return False

    # --- what it has led to ---

    async def _succeeded(
        self,
        effect: Effect,
        handler: EffectHandler,
        before: EffectStatus,
        tries: int,
        text: str,
        said: str,
    ) -> bool:
        """Writes down that it has happened, before anything is made of it."""
        if handler.on_success is not None:
            return await self._tell(
                effect, before, tries, "succeeded", 0, result=text, happened=True, error=said
            )
        return await self._tell(
            effect,
            before,
            tries,
            "done",
            tries,
            due_s=None,
            result=text,
            happened=True,
            error=said,
        )

    async def _go_on_from_success(
        self, effect: Effect, handler: EffectHandler, record: Record[Any]
    ) -> bool:
        """Goes on with an effect that has happened: it is not called again."""
        # Counted before it is tried, as what follows may be what has killed its worker.
        tries = effect.tries + 1
        text = effect.result or "null"
        if not await self._change(
            effect, "succeeded", tries=tries, result=text, happened=True, error=effect.error
        ):
            return False
        if tries > max(self._policy.times, DEATHS):
            died = f"its on_success was begun {effect.tries} times, and nobody knows how it ended"
            return await self._give_up(effect, tries, text, effect.error or died)
        return await self._finish(effect, handler, record, text, "", tries=tries)

    async def _finish(
        self,
        effect: Effect,
        handler: EffectHandler,
        record: Record[Any],
        text: str,
        said: str,
        *,
        tries: int,
    ) -> bool:
        """Runs `on_success` for an effect that stands as `succeeded`, so often begun before."""
        if handler.on_success is not None:
            try:
                result = parse(text)
                await self._with_outcome(handler, record, "success", handler.on_success, result)
            except _NotNow as not_now:
                raise not_now.error from None
            except Exception as error:
                made = max(tries, 1)
                if made >= self._policy.times:
                    self._report(record, handler, error, made, "parked")
                    return await self._give_up(effect, tries, text, text_of(error))
                self._report(record, handler, error, made, "succeeded, its on_success retrying")
                await self._tell(
                    effect,
                    "succeeded",
                    tries,
                    "succeeded",
                    made,
                    due_s=self._pause_s(made),
                    result=text,
                    happened=True,
                    error=text_of(error),
                )
                return False
        return await self._tell(
            effect,
            "succeeded",
            tries,
            "done",
            tries,
            due_s=None,
            result=text,
            happened=True,
            error=said,
        )

    async def _give_up(self, effect: Effect, tries: int, text: str, error: str) -> bool:
        await self._tell(
            effect,
            "succeeded",
            tries,
            "parked",
            tries,
            due_s=None,
            result=text,
            happened=True,
            error=error,
        )
        return False

    async def _with_outcome(
        self,
        handler: EffectHandler,
        record: Record[Any],
        of: Literal["success", "error"],
        function: Callable[..., Any],
        value: object,
    ) -> None:
        """Runs an `on_success` or `on_error`, and appends the events that it has planned.

        Raises `_NotNow` where the log cannot be reached.
        """
        if not takes_outcome(function):
            with handling(record):
                await self._calling.call(function, record, value)
            return
        if await self._is_appended(handler, record, of):
            return  # the events are the last that is done before it is written down
        outcome = Outcome()
        with handling(record):
            await self._calling.call(function, record, value, outcome)
            planned = outcome.planned
            ids = [
                outcome_id(self._name, handler.name, record.id, of, number)
                for number in range(len(planned))
            ]
            if planned:
                try:
                    await self._append(planned, ids)
                except StorageError as error:
                    raise _NotNow(error) from error

    async def _is_appended(
        self, handler: EffectHandler, record: Record[Any], of: Literal["success", "error"]
    ) -> bool:
        try:
            [found] = await self._ledger.find(
                [outcome_id(self._name, handler.name, record.id, of, 0)]
            )
        except StorageError as error:
            raise _NotNow(error) from error
        return found is not None

    # --- what nobody knows of ---

    async def _resolve(self, effect: Effect, handler: EffectHandler, record: Record[Any]) -> bool:
        """Goes on with an effect of which nobody knows whether it has happened."""
        if handler.on_ambiguous == "retry":
            return await self._attempt(effect, handler, record)
        if handler.on_ambiguous == "park":
            said = "its worker died, or was taken for dead, while it was called"
            self._report(record, handler, None, effect.tries, f"ambiguous: {said}")
            await self._change(effect, "ambiguous", due_s=None, error=said)
            return False
        key = effect.handler, effect.position
        try:
            with handling(record):
                verdict: object = await self._calling.call(handler.on_ambiguous, record)
            happened, text = _judged(verdict)
        except Exception as error:
            asked = self._asked[key] = self._asked.get(key, 0) + 1
            self._report(record, handler, error, asked, "ambiguous, as it cannot be verified")
            await self._change(
                effect, "ambiguous", due_s=self._pause_s(asked), error=text_of(error)
            )
            return False
        self._asked.pop(key, None)
        if not happened:
            return await self._attempt(effect, handler, record)
        if not await self._succeeded(effect, handler, "ambiguous", effect.tries, text, ""):
            return False
        return handler.on_success is None or await self._finish(
            effect, handler, record, text, "", tries=0
        )

    # --- writing it down ---

    async def _change(
        self,
        effect: Effect,
        status: EffectStatus,
        *,
        tries: int | None = None,
        due_s: float | None = 0.0,
        result: str | None = None,
        happened: bool = False,
        error: str = "",
    ) -> bool:
        """Writes a step down under the fence, from how the effect stood when it was read."""
        change = Change(
            effect.handler,
            effect.position,
            effect.status,
            effect.tries,
            status,
            effect.tries if tries is None else tries,
            due_s,
            result,
            happened,
            error,
        )
        fence = self._holding.fence(effect.slice)
        return await self._checkpoints.change_effect(
            self._name, change, slice=effect.slice, fence=fence
        )

    async def _tell(
        self,
        effect: Effect,
        before: EffectStatus,
        before_tries: int,
        status: EffectStatus,
        tries: int,
        *,
        due_s: float | None = 0.0,
        result: str | None = None,
        happened: bool = False,
        error: str = "",
    ) -> bool:
        """Writes down what has come out, for as long as it takes.

        Also under the next fence, if this worker has lost the slice and has it back: nobody has
        touched the effect meanwhile if it stands as it did.
        """
        change = Change(
            effect.handler,
            effect.position,
            before,
            before_tries,
            status,
            tries,
            due_s,
            result,
            happened,
            error,
        )
        began = _now()
        while True:
            try:
                fence = self._holding.fence(effect.slice)
                return await self._checkpoints.change_effect(
                    self._name, change, slice=effect.slice, fence=fence
                )
            except (LeaseLost, StorageError) as failure:
                if self.stopping:  # what was lost is not claimed again
                    limit_s = 0.0 if isinstance(failure, LeaseLost) else STOPPING_S
                else:
                    limit_s = TELL_S
                if _now() - began >= limit_s:
                    _log.warning(
                        "subscription %r: what came out of %s for the record at position %d could "
                        "not be written down: %s",
                        self._name,
                        effect.handler,
                        effect.position,
                        failure,
                    )
                    raise
            await asyncio.sleep(0.1)

    async def _record_of(self, effect: Effect) -> Record[Any]:
        position = effect.position
        page = await self._ledger.read(Selection(after=position - 1, until=position), size=1)
        if not page.records or page.records[0].id != effect.id:
            raise LogDiverged(position, "chain")
        return Record[Any](page.records[0], self._decoder)

    def _pause_s(self, tries: int) -> float:
        return self._policy.pause_s(tries, chance=random.random())  # noqa: S311

    def _report(
        self,
        record: Record[Any],
        handler: EffectHandler | None,
        error: Exception | None,
        tries: int,
        status: str,
    ) -> None:
        # The id and no data: what is in an event is nobody's business in a log.
        _log.warning(
            "subscription %r: the effect %s of record %s (position %d) is %s after try %d",
            self._name,
            "?" if handler is None else handler.name,
            record.id,
            record.position,
            status,
            tries,
            exc_info=error,
        )


class _NotNow(Exception):
    """The log cannot be reached: no fault of the function whose outcome was to be appended."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error


def _as_json(result: object, record: Record[Any], handler: EffectHandler) -> tuple[str, str]:
    """Returns a result as JSON text, and what is to be said of it."""
    try:
        return canonical(result, at="result"), ""
    except (NotPortable, RecursionError) as error:
        # It has happened all the same.
        _log.warning(
            "what %s has returned for record %s is no JSON and is kept as null: %s",
            name_of(handler.handler),
            record.id,
            error,
        )
        return "null", f"its result is kept as null: {error}"


def _judged(verdict: object) -> tuple[bool, str]:
    """Returns whether it has happened, and its result as JSON text."""
    if isinstance(verdict, bool):
        return verdict, "null"
    if isinstance(verdict, tuple) and len(pair := cast("tuple[object, ...]", verdict)) == 2:
        word, result = pair
        if word == "done":
            return True, canonical(result, at="result")
    raise InvalidInput(
        "a function that verifies an effect returns True, False or ('done', result), not "
        f"{verdict!r:.80}"
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
