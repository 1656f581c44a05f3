"""The world: what happens, in an order that the seed alone decides."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

from everlog.core.chain import OUTDATED, RESTAMPED, RETURNED
from everlog.core.taking import (
    BEGINNING,
    MIXED,
    TAKEN,
    Hold,
    Judged,
    Keeping,
    Purge,
    Release,
    Restamp,
    Rewind,
    Take,
    Taken,
)
from everlog.errors import CursorMoved, EverlogError
from everlog.ports.ledger import Outcome
from everlog.sync.edge import Round
from everlog.wire.messages import Forked, Offer, Pushed
from tests.simulation import effects
from tests.simulation.disk import Backup
from tests.simulation.history import History
from tests.simulation.loop import Loop, RoundEnd
from tests.simulation.network import Call, Network
from tests.simulation.options import Options
from tests.simulation.promise import Promise
from tests.simulation.relating import Relating
from tests.simulation.site import MAX_OFFSET_MS, Site
from tests.simulation.strict import PREFIX, Strict
from tests.simulation.tasks import Pause, Task, at_once

HUB = "hub"
SECRET = b"the hub's secret, and nobody's else"


class World:
    """All sites of a run, the network between them, and time."""

    def __init__(self, seed: int, options: Options) -> None:
        self.options = options
        self.random = Random(seed)
        self.now_ms = 1_800_000_000_000
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.secret = SECRET if options.secret else None
        self.asks = self.chance(0.5)
        """Whether ambiguous effects ask the receiver, or call it again with the same key."""
        self.receiver = effects.Receiver()
        self.unsure: set[str] = set()
        """The ids of events whose effect was called without knowing whether it had happened."""
        self.purged: set[str] = set()
        """The ids of the events that were let go on a hub's word."""
        self.fair = False
        self.network = Network(self)
        self.history = History(self)
        self.strict_prefixes = (PREFIX,) if options.strict else ()
        self.strict = Strict(self)
        self.relating = Relating(self)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        hub = Site(self, HUB, None)
        self.sites: list[Site] = [hub]
        self.addresses: dict[str, Site] = {HUB: hub}
        for number in range(options.edges):
            self.add(Site(self, f"edge{number}", HUB))
        if options.leaf:
            self.add(Site(self, "leaf", "edge0"))
        self.left: list[Site] = []
        """Hubs that were left for another."""
        self.still_there: set[str] = set()
        """The sites that still reach the hub that was left last."""
        self.turns = 0
        """How often what a round is told may have come to be about something else than before."""

    def add(self, site: Site) -> None:
        """Adds a site, reached by its name."""
        self.sites.append(site)
        self.addresses[site.name] = site
        site.save()

    # --- chance, time and tasks ---

    def chance(self, rate: float) -> bool:
        """Whether something happens that happens at this rate."""
        return rate > 0 and self.random.random() < rate

    def after(self, wait_ms: int, do: Callable[[], None]) -> None:
        """Does something later."""
        self._count += 1
        heapq.heappush(self._due, (self.now_ms + wait_ms, self._count, do))

    async def pause(self) -> None:
        """A place at which anything may happen, sometimes."""
        if self.chance(self.options.pause):
            await Pause()

    async def short_pause(self) -> None:
        """The same, where there are many."""
        if self.chance(self.options.pause / 8):
            await Pause()

    def start(
        self, site: Site, coroutine: Coroutine[Any, Any, Any], ended: Callable[[object], None]
    ) -> Task:
        """Runs a task of a site up to where it first waits."""
        task = Task(site, coroutine, ended)
        self.resume(task)
        return task

    def resume(
        self, task: Task, answer: object = None, *, error: EverlogError | None = None
    ) -> None:
        """Goes on with a task, with what it waited for."""
        if not task.alive:
            return
        try:
            waits = task.coroutine.send(answer) if error is None else task.coroutine.throw(error)
        except StopIteration as stop:
            task.end()
            task.ended(stop.value)
        except EverlogError as raised:
            task.end()
            task.ended(raised)
        except Exception as raised:
            task.end()
            self.violated(f"{task.site.name} raised {raised!r}")
        else:
            if isinstance(waits, Call):
                self.network.send(waits, task)
            elif isinstance(waits, RoundEnd):
                waits.loop.waiting.append(task)
            else:
                self.after(self.random.randint(1, 10), lambda: self.resume(task))

    def pass_time(self, by_ms: int) -> None:
        """Lets time go on, and all happen that is due."""
        until = self.now_ms + by_ms
        while self._due and self._due[0][0] <= until:
            self.now_ms, _, do = heapq.heappop(self._due)
            do()
        self.now_ms = until

    def violated(self, what: str) -> None:
        """Notes that a property does not hold."""
        self.violations.append(what)

    # --- who answers ---

    def server(self, site: Site, address: str) -> Site | None:
        """Returns who answers a site at an address."""
        if address == HUB and site.name in self.still_there:
            return self.left[-1]
        return self.addresses.get(address)

    @property
    def ids(self) -> set[str]:
        """The ids of all events that are anywhere."""
        return {id for site in self.sites for id in site.ledger.tables.by_id}

    # --- a run ---

    def run(self) -> None:
        """Lets things happen, and go wrong."""
        for _ in range(self.options.steps):
            self.pass_time(self.random.randint(1, 12))
            self._act()
            self._fail()
            if self.violations:
                return

    def _act(self) -> None:
        site = self.random.choice(self.sites)
        drawn = self.random.random()
        if drawn < 0.25:
            if self.chance(self.options.relate):
                self.relating.change()
            elif len(self.history.born) >= 70:
                pass
            elif self.options.strict and self.chance(0.5):
                self.strict.append(site)
            else:
                self.history.append(site)
        elif drawn < 0.75:
            self._begin_round(self.random.choice(self.sites))
        elif drawn < 0.83:
            self.start(site, effects.look(site), lambda _: None)
        elif drawn < 0.93:
            self.start(site, effects.carry_out(site), lambda _: None)
        elif site.streams:
            self.fold(site, self.random.choice(site.streams))

    def fold(self, site: Site, stream: str) -> str:
        """Returns a state, folded in both ways."""
        state = at_once(site.fold(stream, with_snapshot=True))
        if state != at_once(site.fold(stream, with_snapshot=False)):
            self.violated(f"S1 a snapshot changes the fold of {stream} at {site.name}")
        return state

    def _begin_round(self, site: Site) -> None:
        if not site.loops:
            return
        # What one of two says may be heard after the other was told that a stamp is ahead.
        if not self.options.stamps_anew and len(site.loops) < 2 and self.chance(0.05):
            site.loops.append(site.new_loop())
            self.counts["second loop of a ledger"] += 1
        loop = self.random.choice(site.loops)
        if not loop.busy:
            self.begin_round(site, loop, lambda _: None)

    def begin_round(self, site: Site, loop: Loop, then: Callable[[object], None]) -> None:
        """Starts a round; `then` is told what became of it."""
        number = loop.begin()
        self.counts["round"] += 1
        promise = Promise(self, site)

        def ended(result: object) -> None:
            loop.ended(number, result)
            if isinstance(result, EverlogError):
                self._round_failed(site, loop, result)
            elif isinstance(result, Round) and result.in_step:
                self.counts["round in step"] += 1
                promise.judge()
            waiting, loop.waiting = loop.waiting, []
            for task in waiting:
                self.after(1, partial(self.resume, task))
            then(result)

        self.start(site, loop.edge.round(), ended)

    def _round_failed(self, site: Site, loop: Loop, error: EverlogError) -> None:
        name = type(error).__name__
        self.counts[name] += 1
        known = ["TransportFailed", "StaleUpstream"]
        if not self.fair:
            known.append("UpstreamFault")
        if name == "WrongUpstream" and site in self.left:
            return  # a copy of the hub, under its id
        if self.fair or name not in known:
            self.violated(f"{site.name}: {name}: {error}")
        if self.chance(0.5):
            loop.edge.forget()

    # --- what goes wrong ---

    def _fail(self) -> None:
        options, random = self.options, self.random
        if self.chance(0.05):
            random.choice(self.sites).save()
        if self.chance(options.cut):
            names = [site.name for site in self.sites]
            self.network.cut = {random.choice(names)} if self.chance(0.5) else set()
        if self.chance(options.crash):
            self._crash(random.choice(self.sites))
        if self.chance(options.restore):
            self._restore(random.choice([site for site in self.sites if site.upstream]))
        if self.chance(options.clone) and len(self.sites) < 7:
            self._clone(random.choice([site for site in self.sites if site.upstream == HUB]))
        if self.chance(options.fail_over):
            self._fail_over()
        if self.still_there and self.chance(0.1):
            self.turns += 1
            if self.chance(0.3):
                names = [site.name for site in self.sites if site.upstream == HUB]
                self.still_there.add(random.choice(names))
            else:
                self.still_there.discard(random.choice(sorted(self.still_there)))
        if self.chance(options.skew):
            skews = [0, -50, 60, -300, 900, 5_000, 20_000]
            wrong = [site for site in self.sites if site.upstream or not options.stamps_anew]
            random.choice(wrong).skew_ms = random.choice(skews)

    def _crash(self, site: Site) -> None:
        self.counts["crash"] += 1
        self.counts["crash in the middle of something"] += bool(site.tasks)
        site.crash()
        site.boot()

    def _restore(self, site: Site) -> None:
        backup = self.random.choice(site.backups)
        lost = site.records[len(backup.tables.records) :]
        own = [each for each in lost if each.origin == backup.identity.ledger]
        self.counts["restore"] += 1
        self.turns += 1
        self.counts["restore that loses something"] += bool(lost)
        self.counts["restore that loses an own event"] += bool(own)
        self._doubt(site)
        site.crash()
        if self.chance(self.options.renew) or backup.identity.epoch != site.ledger.identity.epoch:
            backup = self.history.renewed(backup)
        site.boot(backup)
        self.strict.forget(site)

    def _clone(self, site: Site) -> None:
        self.counts["clone"] += 1
        self._doubt(site)
        backup = self.random.choice([*site.backups, site.ledger.backed_up(site.book)])
        self.add(Site(self, f"{site.name}-clone{len(self.sites)}", site.upstream, backup))

    def _doubt(self, site: Site) -> None:
        """What a copy of a disk owes may have been done by whoever had the other copy."""
        self.unsure |= set(site.ledger.tables.by_id)

    def _fail_over(self, backup: Backup | None = None) -> None:
        old = self.addresses[HUB]
        if not old.backups:
            # Also where it goes on for some: what it says is stable is what has come over.
            old.save()
            backup = old.backups[0]
        backup = backup or self.random.choice(old.backups)
        self.counts["fail-over"] += 1
        self.turns += 1
        loses = len(backup.tables.records) < len(old.records)
        self.counts["fail-over that loses something"] += loses
        self._doubt(old)
        # What was left for a newer epoch does not come back under its old one.
        if self.chance(self.options.renew) or backup.identity.epoch != old.ledger.identity.epoch:
            backup = self.history.renewed(backup)
            self.counts["fail-over with a new epoch"] += 1
        new = Site(self, f"hub{len(self.left) + 1}", None, backup)
        new.skew_ms = self.random.choice([0, 0, 30, -40]) * (not self.options.stamps_anew)
        new.save()
        new.backups[:0] = old.backups[:1]
        self.sites[self.sites.index(old)] = new
        self.addresses[HUB] = new
        self.left.append(old)
        self.still_there = set()
        if self.options.old_hub:
            names = [site.name for site in self.sites if site.upstream == HUB]
            self.still_there = set(self.random.sample(names, self.random.randint(0, len(names))))
            self.counts["old hub goes on"] += bool(self.still_there)
        if not self.still_there:
            old.crash()

    # --- what is seen on the way ---

    def note_answer(self, call: Call, server: Site, result: object) -> None:
        """Looks at what a hub answers."""
        if isinstance(result, Forked):
            self.counts["told that histories have parted"] += 1
        if isinstance(result, Pushed) and call.before is not None:
            accepted = any(judged.verdict == "accepted" for judged in result.judged)
            if accepted and server is self.addresses[HUB] and self.chance(self.options.promise):
                self.counts["fail-over behind an answer to a push"] += 1
                self._fail_over(call.before)
        if isinstance(result, Pushed):
            edge = call.site.ledger.identity.ledger
            for offer, judged in zip(call.offers, result.judged, strict=True):
                self.counts[f"push judged {judged.verdict}"] += 1
                if judged.verdict == "accepted" and offer.record.origin != edge:
                    self.counts["another's event given back"] += 1
                if judged.verdict == "accepted" and offer.version is not None:
                    self.counts["event given back that the hub has had"] += 1
                self._judged(server, offer, judged)
        if isinstance(result, EverlogError):
            self.counts[f"hub raised {type(result).__name__}"] += 1

    def _judged(self, server: Site, offer: Offer, judged: Judged) -> None:
        """Looks at what a hub says of one record."""
        record, here = offer.record, server.ledger.tables.by_id.get(judged.id)
        if judged.verdict == "rejected":
            self.violated(f"S2 {server.name} rejects {judged.id}: {judged.reason}")
        if judged.verdict in TAKEN and (here is None or here.hash != record.hash):
            self.violated(f"S2 {server.name} says that it has {judged.id}, and has not")
        # Of what was outside of its scope an edge has no receipt: a hub that needs one, and has
        # lost the record, judges its stamp as that of a new one.
        known = offer.version is not None and (self.secret is None or offer.receipt is not None)
        if judged.verdict == "clock_ahead" and known:
            self.violated(f"S10 {server.name} refuses for its stamp what a hub has had")

    def note_commit(self, site: Site, request: Take | Keeping | Restamp, outcome: Outcome) -> None:
        """Looks at what a ledger made of a request."""
        if isinstance(outcome, CursorMoved):
            self.counts["CursorMoved"] += 1
        elif isinstance(request, Take) and isinstance(outcome, Taken):
            for row in outcome.new:
                self.counts["returned"] += bool(row.flags & RETURNED)
                self.counts["outdated"] += bool(row.flags & OUTDATED)
                if row.flags & RESTAMPED:
                    late = row.id in site.replaced
                    self.counts["old record behind the new one"] += late
                    self.counts["new record behind the old one"] += not late
            for row in outcome.new if request.link is None else ():
                ahead_ms = int(row.created[:12], 16) - site.seams.now_ms()
                if ahead_ms > MAX_OFFSET_MS and row.id not in request.vouched:
                    self.violated(f"S5 {site.name} takes {row.id}, {ahead_ms} ms ahead")
            if request.link is not None:
                tampered = sum(each.verdict == "tampered" for each in outcome.judged)
                self.counts["pull judged tampered"] += tampered
                state = site.ledger.tables.copies[request.link.upstream].state
                self.counts["relation: changed while it was read"] += state.scope == MIXED
                self.counts["epoch left for another"] += bool(state.past)
        elif isinstance(request, Restamp) and not isinstance(outcome, EverlogError):
            self.counts["stamped anew"] += outcome if isinstance(outcome, int) else 0
        elif isinstance(request, Rewind) and not isinstance(outcome, EverlogError):
            self.counts["rewind"] += 1
            self.counts["rewind to an ancestor behind the beginning"] += request.to != BEGINNING
        elif isinstance(request, Purge) and not isinstance(outcome, EverlogError):
            self.purged |= {*request.ids}
            self.counts["purged"] += bool(outcome)
        elif isinstance(request, Hold):
            self.counts["held"] += 1
        elif isinstance(request, Release):
            self.counts["released"] += 1
            self.turns += 1  # who has looked before is in step but for what was held then
