"""Handlers, as a durable subscription runs them: one record after the other, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from everlog.core.chain import ORPHAN, RESTAMPED
from everlog.core.record import Record
from everlog.errors import (
    ContentGone,
    HandlerFailed,
    HandlersLeftBehind,
    MisusedStore,
    StorageError,
)
from everlog.ports.checkpoints import Tx
from everlog.subscriptions import time_limit
from everlog.subscriptions.calling import is_async, name_of
from everlog.subscriptions.calling_in_time import CallingInTime
from everlog.subscriptions.causation import handling
from everlog.subscriptions.from_thread import FromThread
from everlog.subscriptions.handler_thread import HandlerThread
from everlog.subscriptions.obligations import EffectHandlers, effect_handlers
from everlog.subscriptions.projector import Listener, Projector, StateOf
from everlog.subscriptions.stepping import in_steps
from everlog.subscriptions.time_limit import TimeLimit
from everlog.subscriptions.watch import Watch


class _Prepared(NamedTuple):
    listener: Listener
    wants_all: bool
    takes_tx: bool
    is_async: bool


class Handlers:
    """The handlers of a projector, looked at once."""

    def __init__(
        self,
        projector: Projector,
        state_of: StateOf,
        limit: TimeLimit,
        *,
        without_once: bool = False,
    ) -> None:
        """Raises `EventDefinitionError` for effects that do not say what they have to.

        `limit`: of each call; `without_once`: as in a replay, those are left out.
        """
        self.types = None if projector.of_every_type else projector.types
        """The types of records that are to be read; None for all."""
        self.effects: EffectHandlers = {} if without_once else effect_handlers(projector)
        self._state_of = state_of
        self.thread = HandlerThread()
        """Where `def` handlers run."""
        self.watch = Watch(limit)
        self.calling = CallingInTime(limit)
        # Of a type without a name, which no event has, there are those that are for every type.
        self._of: dict[str, Sequence[_Prepared]] = {
            type: [
                _prepared(listener)
                for listener in projector.listeners(type)
                if listener.kind != "once"
            ]
            for type in (*projector.types, "")
        }
        listeners = [prepared.listener for each in self._of.values() for prepared in each]
        self.reducers = {each.reducer for each in listeners if each.reducer is not None}
        """What states are folded by."""

    @property
    def has_only_effects(self) -> bool:
        """Whether it writes no read model."""
        return not any(self._of.values())

    def close(self) -> None:
        """Lets the threads of `def` handlers end that run nothing."""
        self.thread.stop()
        self.calling.close()
        self.watch.close()

    def batch(self, records: Iterable[Record[Any]], *, eager: bool = False) -> Batch:
        """Returns what handles records, one after the other, in one transaction.

        `eager`: every statement is carried out at once.
        """
        return Batch(self, self._state_of, records if self.reducers else (), eager=eager)

    def of(self, type: str) -> Sequence[_Prepared]:
        """Returns the handlers of a type, in the order of their declaration."""
        found = self._of.get(type)
        return self._of[""] if found is None else found


class Batch:
    """Records that are handled together: of each stream, a state is handed over once."""

    def __init__(
        self,
        handlers: Handlers,
        state_of: StateOf,
        records: Iterable[Record[Any]],
        *,
        eager: bool,
    ) -> None:
        """`records`: those that are to come, in order; `end` is for when fewer have come.

        To be made in the task that handles them.
        """
        self._task = asyncio.current_task()
        self._handlers = handlers
        self._state_of = state_of
        self._eager = eager
        self._last: dict[_Stream, int] = {}
        """At which position a state is due."""
        for record in records:
            for prepared in handlers.of(record.type):
                if prepared.listener.kind == "state":
                    self._last[_Stream(prepared, record.stream)] = record.position
        self._first: dict[_Stream, int] = {}
        """From which position on a state has been put off."""
        self._put_off: dict[_Stream, Record[Any]] = {}
        self.failed_at = 0
        """The position of the first record of which something has failed: what had come before it
        was handled. It lies before that of the last one if the failure is of a state."""

    async def handle(self, record: Record[Any], tx: Tx) -> None:
        """Runs the handlers of one record in the order of their declaration.

        Raises `HandlerFailed` at the first that fails: then nothing of the record is to stay.
        """
        stored = record.stored
        self.failed_at = stored.position
        # An orphan counts for nothing, and a record in the place of another was handled as that.
        only_states = bool(stored.flags & (ORPHAN | RESTAMPED))
        for prepared in self._handlers.of(stored.type):
            listener = prepared.listener
            if only_states and listener.reducer is None:
                continue
            # Not asked of those that want all: what is done here is done for each record.
            if not prepared.wants_all and not listener.wants(
                hydrated=record.hydrated, outdated=record.outdated
            ):
                continue
            if listener.reducer is None:
                await self._run(prepared, record, tx, record)
                continue
            stream = _Stream(prepared, record.stream)
            self._first.setdefault(stream, record.position)
            if self._last[stream] == record.position:
                await self._hand_over(stream, record, tx)
            else:
                self._put_off[stream] = record

    async def end(self, tx: Tx) -> None:
        """Hands over the states that were put off to a record which has not come."""
        for stream in sorted(self._put_off, key=lambda stream: stream.prepared.listener.number):
            await self._hand_over(stream, self._put_off[stream], tx)

    async def _hand_over(self, stream: _Stream, record: Record[Any], tx: Tx) -> None:
        self._put_off.pop(stream, None)
        failed_at, self.failed_at = self.failed_at, self._first[stream]
        reducer = stream.prepared.listener.reducer
        assert reducer is not None
        try:
            state = await self._state_of(reducer, record.stream)
        except (StorageError, MisusedStore):
            raise
        except ContentGone:
            # Outside of the scope that is synchronised: what was made of the whole stream stays.
            self.failed_at = failed_at
            return
        except Exception as error:
            raise _failed(reducer, record) from error
        await self._run(stream.prepared, record, tx, state, record)
        self.failed_at = failed_at

    async def _run(self, prepared: _Prepared, record: Record[Any], tx: Tx, *values: Any) -> None:
        handler = prepared.listener.handler
        task = self._task
        before = 0 if task is None else task.cancelling()
        try:
            with handling(record):
                if prepared.is_async:
                    work = handler(*values, tx) if prepared.takes_tx else handler(*values)
                    watch = self._handlers.watch
                    rest = in_steps(work, task, watch)
                    if rest is not None and task is not None:
                        await watch.in_time(rest, task, handler, record)
                    elif rest is not None:
                        await rest
                else:
                    await self._in_thread(
                        handler, record, values, tx if prepared.takes_tx else None
                    )
        except asyncio.CancelledError as error:
            if task is not None and task.cancelling():
                raise
            # It cancelled itself, or waited for something that was cancelled.
            raise _failed(handler, record) from error
        except (KeyboardInterrupt, GeneratorExit):  # said to the program and to the worker
            raise
        except HandlersLeftBehind:  # it was not called
            raise
        except BaseException as error:  # also `sys.exit`, which would kill worker after worker
            raise _failed(handler, record) from error
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError  # which the handler has kept to itself

    async def _in_thread(
        self,
        handler: Callable[..., Any],
        record: Record[Any],
        values: Sequence[Any],
        tx: Tx | None,
    ) -> None:
        handlers = self._handlers
        handlers.calling.check()
        call_in, watch = handlers.calling.call_in, handlers.watch
        if tx is None:
            await call_in(handlers.thread, handler, record, *values, watch=watch)
            return
        there = FromThread(tx, eager=self._eager)
        try:
            await call_in(
                handlers.thread, handler, record, *values, there, watch=watch, cut_off=there.cut_off
            )
        finally:
            there.end()
            await there.at_rest(within_s=time_limit.GRACE_S)
        await there.carry_out()


class _Stream(NamedTuple):
    """A stream, as one handler of states sees it."""

    prepared: _Prepared
    name: str


def _prepared(listener: Listener) -> _Prepared:
    wants_all = listener.kind in ("all", "state")
    return _Prepared(listener, wants_all, listener.takes_tx, is_async(listener.handler))


def _failed(handler: Callable[..., Any], record: Record[Any]) -> HandlerFailed:
    return HandlerFailed(name_of(handler), [record.id])
