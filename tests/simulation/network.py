"""The network: requests and answers, each lost, repeated or late by itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from everlog.core.sequencer import Append
from everlog.errors import EverlogError, OutcomeUnknown, TransportFailed
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Welcome
from everlog.wire.transport import Transport
from tests.simulation.disk import Backup
from tests.simulation.http import asked as over_http
from tests.simulation.tasks import Task

if TYPE_CHECKING:
    from tests.simulation.site import Site
    from tests.simulation.world import World

Method = Literal["hello", "pull", "push", "append"]


@dataclass(eq=False, slots=True)
class Call:
    """A request, and who waits for its answer."""

    site: Site
    address: str
    method: Method
    ask: Callable[[Site], Coroutine[Any, Any, Any]]
    offers: Sequence[Offer] = ()
    request: Append | None = None
    task: Task | None = None
    answered: bool = False
    before: Backup | None = None
    """What a hub had before a push, if it may lose what it has answered."""

    def __await__(self) -> Generator[Call, Any, Any]:
        return (yield self)


Ask = Callable[[Transport], Coroutine[Any, Any, Any]]


class Wire:
    """The transport between an edge and whoever answers at an address."""

    def __init__(self, site: Site, address: str) -> None:
        self._site = site
        self._address = address
        self.scope = ""
        """What was given last, in the words of who gave it."""

    async def hello(self, hello: Hello) -> Welcome:
        answer: Welcome = await self._call("hello", lambda hub: hub.hello(hello))
        return answer

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        answer: Pulled | Forked = await self._call("pull", lambda hub: hub.pull(asked, size=size))
        if isinstance(answer, Pulled):
            self.scope = answer.scope
        return answer

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        answer: Pushed | Forked = await self._call(
            "push", lambda hub: hub.push(asked, offers), offers
        )
        return answer

    async def append(self, hub: str, request: Append) -> Made:
        self._site.world.strict.note_sent(request)
        try:
            answer: Made = await self._call(
                "append", lambda there: there.append(hub, request), (), request
            )
        except TransportFailed as error:  # as `Patient` has it
            raise OutcomeUnknown([event.id for event in request.events]) from error
        return answer

    async def wait(self, position: int, *, timeout_s: float) -> int:
        raise AssertionError("a round waits for nothing")

    def _call(
        self,
        method: Method,
        ask: Ask,
        offers: Sequence[Offer] = (),
        request: Append | None = None,
    ) -> Call:
        return Call(self._site, self._address, method, self._asked(ask), offers, request)

    def _asked(self, ask: Ask) -> Callable[[Site], Coroutine[Any, Any, Any]]:
        return lambda site: ask(site.hub)


class HttpWire(Wire):
    """The same, over the real HTTP layer."""

    _said: Hello | None = None

    async def hello(self, hello: Hello) -> Welcome:
        self._said = hello
        return await super().hello(hello)

    def _asked(self, ask: Ask) -> Callable[[Site], Coroutine[Any, Any, Any]]:
        said = self._said
        return lambda site: over_http(site, said, ask)


class Network:
    """Carries calls, and their answers back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._late: dict[tuple[str, str, Method], list[object]] = {}
        self.cut: set[str] = set()
        """The names of the sites that nobody reaches."""
        self.fair = False

    def send(self, call: Call, task: Task) -> None:
        """Sends a request; the task goes on with its answer, or without one."""
        world, options = self._world, self._world.options
        call.task = task
        delay_ms = 1 if self.fair else options.delay_ms
        late = self._late.get((call.site.name, call.address, call.method))
        if late and not self.fair and world.chance(options.late):
            answer = late.pop(world.random.randrange(len(late)))
            world.counts[f"late answer to a {call.method} applied"] += 1
            world.turns += 1
            world.after(1, lambda: self._deliver(call, answer, late=True))
        world.after(500 if self.fair else 3 * delay_ms + 3, lambda: self._give_up(call))
        for _ in self._copies():
            wait_ms = world.random.randint(1, delay_ms)
            if not self.fair and world.chance(options.straggle):
                wait_ms += world.random.randint(50, 600)
            world.after(wait_ms, lambda: self._arrive(call))

    def forget(self, site: Site) -> None:
        """Loses what came too late for a process that is no more."""
        for key in [key for key in self._late if key[0] == site.name]:
            del self._late[key]

    def _copies(self) -> range:
        world, options = self._world, self._world.options
        if self.fair:
            return range(1)
        copies = 2 if world.chance(options.repeat) else 1
        if copies == 2:
            world.counts["message repeated"] += 1
        kept = sum(not world.chance(options.drop) for _ in range(copies))
        world.counts["message lost"] += copies - kept
        return range(kept)

    def _arrive(self, call: Call) -> None:
        world = self._world
        server = world.server(call.site, call.address)
        if server is None or self.cut & {server.name, call.site.name}:
            world.counts["request lost at a partition"] += 1
            return
        if call.request is not None and not world.strict.may_arrive(server, call.request):
            return
        if call.answered:
            world.counts[f"old {call.method} arrived"] += 1
        if call.method == "push" and world.options.promise and not self.fair:
            server.save()
            call.before = server.backups[-1]
        world.start(server, call.ask(server), lambda result: self._reply(call, server, result))

    def _reply(self, call: Call, server: Site, result: object) -> None:
        world = self._world
        world.note_answer(call, server, result)
        delay_ms = 1 if self.fair else world.options.delay_ms
        for _ in self._copies():
            world.after(world.random.randint(1, delay_ms), lambda: self._deliver(call, result))

    def _deliver(self, call: Call, result: object, *, late: bool = False) -> None:
        world = self._world
        if self.cut & {call.site.name}:
            return
        assert call.task is not None
        if call.answered or not call.task.alive:
            if not isinstance(result, EverlogError) and not late:
                kept = self._late.setdefault((call.site.name, call.address, call.method), [])
                kept.append(result)
                del kept[:-4]
            return
        call.answered = True
        if isinstance(result, EverlogError):
            world.resume(call.task, error=result)
            return
        if isinstance(result, Pulled) and not self.fair and world.chance(world.options.damage):
            result = self._damaged(result)
        world.resume(call.task, result)

    def _damaged(self, pulled: Pulled) -> Pulled:
        """Returns an answer that is not what the hub said."""
        world, records = self._world, list(pulled.records)
        if not records:
            return pulled
        world.counts["answer damaged"] += 1
        place = world.random.randrange(len(records))
        record = records[place]
        kind = world.random.randrange(5)
        if kind == 0:
            records[place] = record._replace(data='"other"')
        elif kind == 1:
            records[place] = record._replace(version=record.version + 1)
        elif kind == 2:
            records[place] = record._replace(flags=record.flags ^ 2)
        elif kind == 3:
            del records[place]
        else:
            records.append(records[place])
        receipts = pulled.receipts and (None,) * len(records)
        return pulled._replace(records=tuple(records), receipts=receipts)

    def _give_up(self, call: Call) -> None:
        assert call.task is not None
        if not call.answered and call.task.alive:
            call.answered = True
            self._world.counts["call given up"] += 1
            self._world.resume(call.task, error=TransportFailed("no answer"))
