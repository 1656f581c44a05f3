"""Writes the classes of `everlog.blocking` from the async ones.

Signatures and docstrings are taken over from the source of the async class; a body hands the call
to the portal. What is special to one method stands here, as does the head of each file.
Run it as `.venv/dev-*/bin/python tests/blocking/make_blocking.py`: it formats by `ruff`.
"""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.blocking import translation  # noqa: E402 - found by the line above

SOURCE = ROOT / "src"

WIDTH = 92
"""Of the docstring of a method."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Twin:
    """An async class, and how its blocking twin is written."""

    source: str
    """The module of the async class."""
    name: str
    target: str
    """The file of the twin, in `everlog/blocking/`."""
    docstring: str
    """What the module is."""
    imports: str
    """What bodies need; what signatures need is found out."""
    base: str = ""
    held: str = ""
    """The expression for the async object."""
    portal: str = "self._portal"
    head: str = ""
    """What the class begins with, below its docstring."""
    bodies: Mapping[str, str] = field(default_factory=dict[str, str])
    """Bodies of methods that are not plainly handed over."""
    ignores: Mapping[str, str] = field(default_factory=dict[str, str])
    """Comments behind the `def` of a method."""
    left_out: Sequence[str] = ()
    tail: str = ""
    """What stands below the class."""


def started(held: str, end: str) -> str:
    """Returns how something is started that runs by itself, and what ends it after an interrupt."""
    return f"""
        try:
            self._portal.run({held}.__aenter__)
        except Exception:
            raise
        except BaseException:  # an interrupt, perhaps when it had just been started
            self._portal.run({end})
            raise
        return self
    """


def with_progress(method: str, returned: str, arguments: str) -> str:
    """Returns the body of a method of the store whose progress is told in the caller's thread."""
    given = " ".join(arguments.split()).rstrip(",")
    return f"""
        if progress is None:
            return self._portal.run(self._store.{method}, {given})

        async def {method}(caller: Caller) -> {returned}:
            def tell(done: int, total: int) -> None:
                caller.tell(progress, done, total)

            return await self._store.{method}({given}, progress=tell)

        return self._portal.serve({method})
    """


TWINS = [
    Twin(
        source="everlog.store.event_store",
        name="EventStore",
        target="event_store.py",
        docstring="`EventStore`: the object that a program holds, without `await`.",
        imports="""
            from everlog.blocking.following import Following
            from everlog.blocking.handing_over import hand_over, own
            from everlog.blocking.ledger import Ledger, port
            from everlog.blocking.portal import Caller, Portal, portal
            from everlog.blocking.projector import Projector, hook_of, projector_of
            from everlog.blocking.reading import Reading
            from everlog.blocking.rebuild import Rebuild
            from everlog.blocking.relations import Relations
            from everlog.blocking.saving import BlockingSaver
            from everlog.blocking.snapshots import Snapshots
            from everlog.blocking.subscription import Subscription
            from everlog.blocking.subscriptions import Subscriptions
            from everlog.blocking.sync import Sync
            from everlog.blocking.transaction import Transaction
            from everlog.errors import InvalidInput
            from everlog.store.event_store import EventStore as AsyncEventStore
            from everlog.store.opening import Opening
        """,
        held="self._store",
        head='''
            relations: Relations
            """Keys that name sets of streams."""
            snapshots: Snapshots
            """Stored states that shorten folds."""
            subscriptions: Subscriptions
            """What is known of durable subscriptions, and what failed in them."""
        ''',
        bodies={
            "__init__": """
                here = portal()
                store = here.call(
                    AsyncEventStore,
                    port(ledger),
                    events=list(events),
                    snapshots=snapshots,
                    max_offset_s=max_offset_s,
                    seams=seams,
                    checkpoints=checkpoints,
                    has_checkpoints=has_checkpoints,
                    strict=list(strict),
                )
                self._hold(here, store)
            """,
            "open": """
                here = portal()
                opening = AsyncEventStore.open(
                    url,
                    events=events,
                    snapshots=snapshots,
                    max_offset_s=max_offset_s,
                    strict=strict,
                    create=create,
                    clock=clock,
                    **options,
                )
                store = EventStore.__new__(EventStore)
                store._hold(here, here.run(_opened, opening))
                return store
            """,
            "import_records": """
                return hand_over(
                    self._portal,
                    records,
                    lambda handed: self._store.import_records(
                        handed, emit=emit, batch=batch, max_offset_s=max_offset_s
                    ),
                    block=IMPORT_BLOCK,
                )
            """,
            "event_from": """
                return self._portal.here(self._store.event_from, type, data, meta)
            """,
            "past": """
                return self._portal.here(
                    self._store.past,
                    stream,
                    event,
                    created=created,
                    meta=meta,
                    id=id,
                    origin=origin,
                )
            """,
            "read": """
                reading = self._portal.here(
                    self._store.read,
                    stream,
                    streams=streams,
                    prefix=prefix,
                    relation=relation,
                    types=types,
                    after=after,
                    until=until,
                    as_of=as_of,
                    limit=limit,
                    backwards=backwards,
                )
                return Reading(self._portal, reading)
            """,
            "follow": """
                following = self._portal.call(
                    self._store.follow,
                    after=after,
                    types=types,
                    stream=stream,
                    prefix=prefix,
                    relation=relation,
                )
                return Following(self._portal, following)
            """,
            "subscription": """
                subscription = self._portal.call(
                    self._store.subscription,
                    name,
                    projector_of(projector),
                    version=version,
                    from_=from_,
                    on_error=on_error,
                    slices=slices,
                    lease_s=lease_s,
                    effects_at_once=effects_at_once,
                    handler_timeout_s=handler_timeout_s,
                )
                return Subscription(self._portal, subscription)
            """,
            "sync": """
                other = hub._store if isinstance(hub, EventStore) else hub
                sync = self._portal.call(
                    self._store.sync,
                    other,
                    prefix=prefix,
                    relation=relation,
                    token=token,
                    allow_http=allow_http,
                    out_of_scope=out_of_scope,
                )
                return Sync(self._portal, sync)
            """,
            "rebuild": """
                rebuild = self._portal.call(
                    self._store.rebuild,
                    name,
                    projector_of(projector),
                    version=version,
                    swap=swap,
                    from_=from_,
                    on_error=on_error,
                    lease_s=lease_s,
                    handler_timeout_s=handler_timeout_s,
                )
                return Rebuild(self._portal, rebuild)
            """,
            "token": "return self._portal.here(self._store.token, record)",
            "transaction": """
                if hasattr(connection, "__aenter__"):
                    raise InvalidInput(
                        "a blocking store takes a blocking psycopg.Connection; an AsyncConnection "
                        "belongs to the event loop that uses it"
                    )
                transaction = self._portal.here(self._store.transaction, connection, emit=emit)
                return Transaction(self._portal, transaction)
            """,
            "new": """
                return self._saver.adopt(self._portal.here(self._store.new, cls, id=id))
            """,
            "get": """
                found = self._portal.run(
                    self._store.get, cls, stream, relation=relation, as_of=as_of
                )
                return self._saver.adopt(found)
            """,
            "retrying": """
                async def retry(caller: Caller) -> A:
                    async def decide_there(aggregate: A) -> None:
                        decided = await caller.do(decide, self._saver.adopt(aggregate))
                        if isinstance(decided, Awaitable):
                            await decided

                    return await self._store.retrying(cls, stream, decide_there, attempts=attempts)

                return self._portal.serve(retry)
            """,
            "on_appended": """
                self._portal.call(self._store.on_appended, hook_of(hook))
            """,
            "capabilities": "return self._store.capabilities",
            "ledger": "return Ledger(self._portal, self._store.ledger)",
            "verify": """
                if progress is None:
                    return self._portal.run(self._store.verify)

                async def verify(caller: Caller) -> Verification:
                    def tell(done: int, total: int) -> None:
                        caller.tell(progress, done, total)

                    return await self._store.verify(progress=tell)

                return self._portal.serve(verify)
            """,
            "export": with_progress(
                "export",
                "Exported",
                """
                    file,
                    format=format,
                    stream=stream,
                    prefix=prefix,
                    relation=relation,
                    types=types,
                    after=after,
                    until=until,
                    as_of=as_of,
                    replace=replace,
                """,
            ),
            "import_file": with_progress(
                "import_file",
                "ImportedFile",
                """
                    file,
                    format=format,
                    emit=emit,
                    batch=batch,
                    max_offset_s=max_offset_s,
                """,
            ),
            "close": """
                if not self._portal.forked:  # in a child there is nothing that it could let go of
                    self._portal.run(self._store.close, timeout_s=timeout_s)
            """,
            "__repr__": "return repr(self._store)",
            "__aenter__": "return self",
            "__aexit__": "self.close()",
        },
        left_out=["pend", "snapshot_aggregate", "as_hub"],
        tail='''
            IMPORT_BLOCK = 100
            """Records of an import that cross over together; they fill a chunk without rest."""


            async def _opened(opening: Opening[AsyncEventStore]) -> AsyncEventStore:
                return await opening
        ''',
    ),
    Twin(
        source="everlog.store.relations",
        name="Relations",
        target="relations.py",
        docstring="`store.relations`: keys that name sets of streams.",
        imports="""
            from everlog.blocking.handing_over import own
            from everlog.blocking.portal import Portal
            from everlog.store.relations import Relations as AsyncRelations
        """,
        held="self._relations",
        head="""
            def __init__(self, portal: Portal, relations: AsyncRelations) -> None:
                self._portal = portal
                self._relations = relations
        """,
    ),
    Twin(
        source="everlog.store.transacting",
        name="Transaction",
        target="transaction.py",
        docstring="Transactions: events that commit with the user's own tables.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.store.transacting import Transaction as AsyncTransaction
        """,
        held="self._transaction",
        head="""
            def __init__(self, portal: Portal, transaction: AsyncTransaction) -> None:
                self._portal = portal
                self._transaction = transaction
        """,
        bodies={
            "__aenter__": """
                self._portal.run(self._transaction.__aenter__)
                return self
            """,
            "__aexit__": """
                self._portal.run(self._transaction.__aexit__, kind, error, trace)
            """,
            "records": "return self._transaction.records",
            "is_retry": "return self._transaction.is_retry",
            "append": """
                self._portal.here(
                    self._transaction.append,
                    stream,
                    *events,
                    meta=meta,
                    expect=expect,
                    ids=ids,
                    relations=relations,
                )
            """,
            "append_many": """
                self._portal.here(self._transaction.append_many, items)
            """,
            "save": """
                self._portal.here(self._transaction.save, *aggregates)
            """,
        },
        left_out=["__init__"],
    ),
    Twin(
        source="everlog.store.snapshots",
        name="Snapshots",
        target="snapshots.py",
        docstring="`store.snapshots`: states kept to shorten folds.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.blocking.saving import BlockingSaver
            from everlog.store.snapshots import Snapshots as AsyncSnapshots
        """,
        held="self._snapshots",
        head="""
            def __init__(
                self, portal: Portal, snapshots: AsyncSnapshots, saver: BlockingSaver
            ) -> None:
                self._portal = portal
                self._snapshots = snapshots
                self._saver = saver
        """,
        bodies={
            "create": """
                created = self._portal.run(
                    self._snapshots.create, reducer, stream, relation=relation, types=types
                )
                self._saver.adopt(created.state)
                return created
            """,
            "get": """
                found = self._portal.run(
                    self._snapshots.get, reducer, stream, relation=relation, types=types
                )
                if found is not None:
                    self._saver.adopt(found.state)
                return found
            """,
        },
    ),
    Twin(
        source="everlog.core.aggregate",
        name="AggregateRoot",
        target="aggregate.py",
        docstring="Aggregates whose `save` and `snapshot` are not awaited.",
        imports="""
            from typing import Protocol, TypeVar
            from everlog.core.aggregate import AggregateRoot as AsyncAggregateRoot
            from everlog.errors import MisusedStore
        """,
        base="AsyncAggregateRoot",
        bodies={
            "apply": "super().apply(record)",
            "push": "return super().push(event, meta=meta)",
            "save": """
                _saver_of(self, "save()").save_now(self, emit=emit, batch=batch)
                return self
            """,
            "snapshot": """
                _saver_of(self, "snapshot()").snapshot_now(self)
                return self
            """,
        },
        ignores=dict.fromkeys(
            ("save", "snapshot"),
            # As every method here: it does the same, and is not awaited.
            "  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]"
            "  # not awaited",
        ),
        left_out=["__init__", "__init_subclass__", "__repr__"],
        tail='''
            class Saver(Protocol):
                """What `AggregateRoot.save` and `.snapshot` need of the store they come from."""

                def save_now(
                    self, aggregate: AsyncAggregateRoot, *, emit: bool, batch: str | None
                ) -> None:
                    """Appends the pending events of the aggregate."""
                    ...

                def snapshot_now(self, aggregate: AsyncAggregateRoot) -> None:
                    """Stores a snapshot of the aggregate as saved."""
                    ...


            def _saver_of(aggregate: AggregateRoot, method: str) -> Saver:
                saver: Any = aggregate.log.saver
                if not hasattr(saver, "save_now"):
                    name = type(aggregate).__qualname__
                    raise MisusedStore(
                        f"{name}.{method} of everlog.blocking waits, and its store is an async "
                        f"one: await store.save(aggregate), or derive {name} from "
                        "everlog.AggregateRoot"
                    )
                found: Saver = saver
                return found
        ''',
    ),
    Twin(
        source="everlog.subscriptions.projector",
        name="Projector",
        target="projector.py",
        docstring="Projectors: handlers that turn records into read models and effects.",
        imports="""
            from everlog.blocking.handing_over import hand_over
            from everlog.blocking.portal import portal
            from everlog.store.hooks import Hook
            from everlog.subscriptions.projector import Projector as AsyncProjector
        """,
        held="self._projector",
        portal="portal()",
        bodies={
            "__init__": "self._projector = AsyncProjector()",
            "once": """
                return self._projector.once(
                    *types,
                    on_success=on_success,
                    on_error=on_error,
                    on_ambiguous=on_ambiguous,
                    idempotent=idempotent,
                    name=name,
                )
            """,
            "on": "return self._projector.on(*types)",
            "all": "return self._projector.all(*types)",
            "listeners": "return self._projector.listeners(type)",
            "state": "return self._projector.state(reducer, *types)",
            "batch": "return self._projector.batch(key)",
            "replay": "return hand_over(portal(), records, self._projector.replay, block=1)",
            "types": "return self._projector.types",
            "of_every_type": "return self._projector.of_every_type",
            "wrapped": """
                copy = Projector()
                copy._projector = self._projector.wrapped(wrap, state_of=state_of)
                return copy
            """,
        },
        tail='''
            def asynchronous(projector: Projector) -> AsyncProjector:
                """Returns the projector as the portal sees it."""
                return projector._projector{friend}


            def projector_of(projector: Any) -> AsyncProjector:
                """Returns what a subscription is given, whatever it is: it says what is wrong."""
                if isinstance(projector, Projector):
                    return projector._projector{friend}
                found: AsyncProjector = projector
                return found


            def hook_of(hook: Hook) -> Hook:
                """Returns the hook as the portal calls it: a projector's without any thread."""
                owner = getattr(hook, "__self__", None)
                if (
                    isinstance(owner, Projector)
                    and getattr(hook, "__func__", None) is Projector.handle
                ):
                    return owner._projector.handle{friend}
                return hook
        ''',
    ),
    Twin(
        source="everlog.subscriptions.subscription",
        name="Subscription",
        target="subscription.py",
        docstring="Subscriptions: named, durable runs of handlers over a ledger.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.subscriptions.subscription import Subscription as AsyncSubscription
        """,
        held="self._subscription",
        head="""
            def __init__(self, portal: Portal, subscription: AsyncSubscription) -> None:
                self._portal = portal
                self._subscription = subscription
        """,
        bodies={
            "name": "return self._subscription.name",
            "is_running": "return self._subscription.is_running",
            "__aenter__": started("self._subscription", "self._subscription.stop"),
            "__aexit__": """
                self._portal.run(self._subscription.__aexit__, kind, error, trace)
            """,
        },
        left_out=["__init__"],
    ),
    Twin(
        source="everlog.sync.syncing",
        name="Sync",
        target="sync.py",
        docstring="Syncing: a ledger that is kept in step with a hub, for as long as that takes.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.sync.syncing import Sync as AsyncSync
        """,
        held="self._sync",
        head="""
            def __init__(self, portal: Portal, sync: AsyncSync) -> None:
                self._portal = portal
                self._sync = sync
        """,
        bodies={
            "is_running": "return self._sync.is_running",
            "__aenter__": started("self._sync", "self._sync.stop"),
            "__aexit__": "self._portal.run(self._sync.__aexit__, kind, error, trace)",
        },
        left_out=["__init__"],
    ),
    Twin(
        source="everlog.subscriptions.rebuild",
        name="Rebuild",
        target="rebuild.py",
        docstring="Rebuilds: a new version of a projection takes the place of the live one.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.subscriptions.rebuild import Rebuild as AsyncRebuild
        """,
        held="self._rebuild",
        head="""
            def __init__(self, portal: Portal, rebuild: AsyncRebuild) -> None:
                self._portal = portal
                self._rebuild = rebuild
        """,
        bodies={
            "name": "return self._rebuild.name",
            "is_swapped": "return self._rebuild.is_swapped",
            "__aenter__": started("self._rebuild", "self._rebuild.__aexit__, None, None, None"),
            "__aexit__": "self._portal.run(self._rebuild.__aexit__, kind, error, trace)",
        },
        left_out=["__init__"],
    ),
    Twin(
        source="everlog.store.subscribing",
        name="Subscriptions",
        target="subscriptions.py",
        docstring="`store.subscriptions`: what is known of durable subscriptions.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.store.subscribing import Subscriptions as AsyncSubscriptions
        """,
        held="self._subscriptions",
        head="""
            def __init__(self, portal: Portal, subscriptions: AsyncSubscriptions) -> None:
                self._portal = portal
                self._subscriptions = subscriptions
        """,
        left_out=["__init__", "make", "make_rebuild", "place", "close", "close_later"],
    ),
    Twin(
        source="everlog.ports.checkpoints",
        name="Tx",
        target="tx.py",
        docstring="`Tx`: the transaction of a subscription, as a `def` handler has it.",
        imports="from typing import Protocol",
        base="Protocol",
        bodies=dict.fromkeys(("execute", "execute_many", "fetch"), "..."),
    ),
    Twin(
        source="everlog.ports.ledger",
        name="Ledger",
        target="ledger.py",
        docstring="`store.ledger`: the port under a blocking store.",
        imports="""
            from collections.abc import Awaitable, Callable
            from everlog.blocking.portal import Portal, portal
            from everlog.blocking.upstreams import Upstreams
            from everlog.ports.ledger import Ledger as AsyncLedger
        """,
        held="self._ledger",
        head='''
            def __init__(self, portal: Portal, ledger: AsyncLedger) -> None:
                """`Ledger.of` makes one of an adapter of your own."""
                self._portal = portal
                self._ledger = ledger

            @classmethod
            def of(cls, open: Callable[[], Awaitable[AsyncLedger]]) -> Ledger:
                """Opens an adapter of your own on the loop where blocking stores live.

                >>> from everlog.adapters.memory.ledger import MemoryLedger
                >>> async def open() -> MemoryLedger:
                ...     return MemoryLedger()
                >>> Ledger.of(open).head().position
                0
                """
                here = portal()

                async def opened() -> AsyncLedger:
                    return await open()

                return cls(here, here.run(opened))
        ''',
        bodies={
            "identity": "return self._ledger.identity",
            "capabilities": "return self._ledger.capabilities",
            "upstreams": "return Upstreams(self._portal, self._ledger.upstreams)",
            "close": """
                if not self._portal.forked:
                    self._portal.run(self._ledger.close)
            """,
        },
        left_out=["join"],
        tail='''
            def port(ledger: Ledger) -> AsyncLedger:
                """Returns the port as the portal sees it."""
                return ledger._ledger{friend}
        ''',
    ),
    Twin(
        source="everlog.ports.upstreams",
        name="Upstreams",
        target="upstreams.py",
        docstring="`store.ledger.upstreams`: what is known of upstreams.",
        imports="""
            from everlog.blocking.portal import Portal
            from everlog.ports.upstreams import Upstreams as AsyncUpstreams
        """,
        held="self._upstreams",
        head="""
            def __init__(self, portal: Portal, upstreams: AsyncUpstreams) -> None:
                self._portal = portal
                self._upstreams = upstreams
        """,
    ),
]


def made() -> dict[Path, str]:
    """Returns the files and what should be in them."""
    return {SOURCE / "everlog" / "blocking" / twin.target: _file_of(twin) for twin in TWINS}


def _file_of(twin: Twin) -> str:
    path = SOURCE / (twin.source.replace(".", "/") + ".py")
    tree = ast.parse(path.read_text("utf-8"))
    [cls] = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == twin.name
    ]
    doc = translation.docstring(twin.name, ast.get_docstring(cls) or "")
    parts = [f"class {twin.name}{f'({twin.base})' if twin.base else ''}:", _quoted(doc)]
    if twin.head:
        parts.append(textwrap.indent(textwrap.dedent(twin.head).strip(), "    "))
    for node in cls.body:
        if isinstance(node, Function) and _is_wanted(node, twin):
            parts.append("\n" + textwrap.indent(_method(node, twin), "    "))
    if twin.name == "EventStore":
        parts.append(textwrap.indent(_HOLD, "    "))
    body = (
        "\n".join(parts)
        + "\n\n\n"
        + textwrap.dedent(twin.tail).strip().replace("{friend}", FRIEND)
        + "\n"
    )
    head = (
        f'"""{twin.docstring}\n\n'
        f"Made from `{twin.source}`\nby `tests/blocking/make_blocking.py`: change those instead.\n"
        '"""\n\nfrom __future__ import annotations\n\n'
    )
    own_imports = textwrap.dedent(twin.imports).strip()
    found = "\n".join(_imports(ast.parse(own_imports + "\n" + body), tree, twin))
    return _formatted(f"{head}{found}\n{own_imports}\n\n{body}", twin.target)


_HOLD = """
def _hold(self, here: Portal, store: AsyncEventStore) -> None:
    self._portal = here
    self._store = store
    self._saver = BlockingSaver(here, store)
    self.relations = Relations(here, store.relations)
    self.snapshots = Snapshots(here, store.snapshots, self._saver)
    self.subscriptions = Subscriptions(here, store.subscriptions)
"""


def _is_wanted(node: Function, twin: Twin) -> bool:
    if node.name in twin.left_out:
        return False
    return not node.name.startswith("_") or node.name in twin.bodies


FRIEND = "  # pyright: ignore[reportPrivateUsage]  # its friend"
"""Behind a line that looks into a class of the same file."""

DUNDERS = {"__aenter__": "__enter__", "__aexit__": "__exit__"}


def _method(node: Function, twin: Twin) -> str:
    """Returns the source of the twin of a method."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    for argument in _arguments(node):
        if argument.annotation is not None:
            argument.annotation = _translated(argument.annotation)
    returns = "None" if node.returns is None else ast.unparse(_translated(node.returns))
    name = DUNDERS.get(node.name, node.name)
    lines = [f"@{decorator}" for decorator in decorators]
    signature = f"def {name}({ast.unparse(node.args)}) -> {returns}:"
    if "overload" in decorators:
        return "\n".join([*lines, f"{signature} ..."])
    lines.append(signature + twin.ignores.get(node.name, ""))
    doc = ast.get_docstring(node)
    if doc is not None:
        lines.append(_quoted(translation.docstring(f"{twin.name}.{node.name}", doc)))
    body = twin.bodies.get(node.name) or _handed_over(node, twin, returns)
    unused = [each.arg for each in _arguments(node) if not _is_used(each.arg, body)]
    if unused and not node.name.startswith("__") and body.strip() != "...":
        raise LookupError(f"the body of {twin.name}.{node.name} does not pass on {unused}")
    return "\n".join([*lines, textwrap.indent(textwrap.dedent(body).strip(), "    ")])


def _is_used(argument: str, body: str) -> bool:
    used = {
        each.id for each in ast.walk(ast.parse(textwrap.dedent(body))) if isinstance(each, ast.Name)
    }
    return argument in used or argument == "self"


def _handed_over(node: Function, twin: Twin, returns: str) -> str:
    arguments = [f"{twin.held}.{node.name}"]
    arguments += [_handed(argument) for argument in [*node.args.posonlyargs, *node.args.args][1:]]
    if node.args.vararg is not None:
        arguments.append(f"*{node.args.vararg.arg}")
    arguments += [f"{argument.arg}={_handed(argument)}" for argument in node.args.kwonlyargs]
    if node.args.kwarg is not None:
        arguments.append(f"**{node.args.kwarg.arg}")
    how = "run" if _is_awaited(node) else "call"
    call = f"{twin.portal}.{how}({', '.join(arguments)})"
    return call if returns == "None" else f"return {call}"


def _is_awaited(node: Function) -> bool:
    returns = "" if node.returns is None else ast.unparse(node.returns)
    return isinstance(node, ast.AsyncFunctionDef) or returns.startswith("Awaitable[")


def _handed(argument: ast.arg) -> str:
    """Returns an argument as it is handed over: what can be iterated was iterated by the caller."""
    annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
    return f"own({argument.arg})" if annotation.startswith("Iterable[") else argument.arg


def _arguments(node: Function) -> Iterator[ast.arg]:
    arguments = node.args
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (one for one in (arguments.vararg, arguments.kwarg) if one is not None)


def _translated(node: ast.expr) -> ast.expr:
    return ast.parse(translation.annotation(ast.unparse(node)), mode="eval").body


def _quoted(text: str) -> str:
    """Returns a docstring as source, its paragraphs broken anew where a line is too long."""
    assert "\\" not in text, "a docstring with a backslash has to be written raw"
    text = "\n\n".join(map(_broken_anew, text.split("\n\n")))
    end = "\n" if "\n" in text else ""
    return textwrap.indent(f'"""{text}{end}"""', "    ")


def _broken_anew(paragraph: str) -> str:
    if ">>>" in paragraph or all(len(line) <= WIDTH for line in paragraph.splitlines()):
        return paragraph
    items = re.split(r"\n(?=- )", paragraph)  # each item of a list by itself
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()),
            WIDTH,
            subsequent_indent="  " if item.startswith("- ") else "",
            break_on_hyphens=False,
        )
        for item in items
    )


def _imports(made: ast.Module, source: ast.Module, twin: Twin) -> Iterator[str]:
    """Finds where the names come from that signatures use."""
    used = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
    bound = {node.arg for node in ast.walk(made) if isinstance(node, ast.arg)}
    bound |= {
        node.id
        for node in ast.walk(made)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(made):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    known: dict[str, str] = {}
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                known[alias.asname or alias.name] = f"from {node.module} import {alias.name}"
    for name in sorted(used - bound - set(vars(builtins))):
        yield known.get(name, f"from {twin.source} import {name}")


def _formatted(text: str, name: str) -> str:
    """Returns the source as `ruff` has it."""
    path = str(SOURCE / "everlog" / "blocking" / name)
    for command in (
        ["check", "--quiet", "--select", "I,F401", "--fix", "--exit-zero"],
        ["format", "--quiet"],
    ):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"],
            input=text,
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        ).stdout
    return text


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
