"""From a URL to a ledger: the only file that knows all adapters."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from everlog.client.address import address_of
from everlog.errors import InvalidUrl, NotSupported
from everlog.ports.checkpoints import Checkpoints
from everlog.ports.ledger import Ledger
from everlog.ports.migration import Migration
from everlog.ports.seams import Seams
from everlog.wire.transport import Transport

KNOWN = "memory:, sqlite:///path/to/file.db, postgresql://user@host/database or https://hub"

# What libpq also takes for a place, and may have a password: "host=db user=me password=...".
_LIBPQ = re.compile(r"\s*(?:host|hostaddr|port|dbname|user|password|service|ssl\w+)\s*=")
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


async def connect(
    url: str | PathLike[str], *, seams: Seams, options: dict[str, Any], create: bool = True
) -> Ledger:
    """Opens the ledger that a URL names.

    - `memory:`
    - `sqlite:///relative.db`, `sqlite:////absolute/path.db`; options as arguments or in the query:
      `durability=full|relaxed`, `timeout_s=30`, `views=same` or the path of a file
    - a `Path`: that of a SQLite file
    - `postgresql://user@host/database?schema=everlog`; options as arguments or in the query:
      `schema`, `migrate`, `timeout_s=30`, `pooler=none|transaction`, `readers=4`; what else is in
      the query is libpq's
    - `https://hub`; options as arguments: `token`, `allow_http`, `timeout_s=30`

    `create`: False opens what is there, raises `CannotOpen` where nothing is, and creates nothing;
    of what is in memory there is always nothing, and it opens.

    Raises `InvalidUrl`, `NotSupported` without the driver, and what opening the ledger raises.
    """
    kind, where, options = understood(url, options)
    if kind == "memory":
        from everlog.adapters.memory.ledger import MemoryLedger

        return MemoryLedger(seams=seams)
    if kind == "sqlite":
        from everlog.adapters.sqlite.ledger import SqliteLedger

        return await SqliteLedger.open(where, seams=seams, create=create, **options)
    if kind == "hub":
        timeout_s = options.pop("timeout_s", 30.0)
        address = address_of(where, **options)
        with _client():
            from everlog.client.http import Http
            from everlog.client.ledger import RemoteLedger
        return await RemoteLedger.open(Http(address), timeout_s=timeout_s)
    if not create and options.get("migrate") is None:
        options["migrate"] = False
    with _driver():
        from everlog.adapters.postgres.ledger import PostgresLedger
    return await PostgresLedger.open(where, seams=seams, **options)


def reach(url: str, *, token: str | None, allow_http: bool) -> Transport:
    """Returns the way to the hub that a URL names; nothing is sent yet.

    Raises `InvalidUrl`, `InvalidInput` for what is no token, `NotSupported` without the client.
    """
    address = address_of(url, token=token, allow_http=allow_http)
    with _client():
        from everlog.client.http import Http
        from everlog.client.transport import HttpTransport
    return HttpTransport(Http(address))


async def open_checkpoints(ledger: Ledger) -> Checkpoints:
    """Opens the place where the subscriptions of a ledger keep how far they have got.

    Raises `NotSupported` for a ledger of an adapter that is not ours, and what opening it raises.
    """
    from everlog.adapters.sqlite.checkpoints import SqliteCheckpoints
    from everlog.adapters.sqlite.views_file import views_path

    if not ledger.capabilities.whole:
        raise NotSupported(
            "a store far away has no place here for checkpoints, so no subscriptions; open a store "
            "here, such as sqlite:///copy.db, and keep it in step: store.sync(url)"
        )
    if ledger.capabilities.durable is False:
        return await SqliteCheckpoints.open(None)
    from everlog.adapters.sqlite.ledger import SqliteLedger

    if isinstance(ledger, SqliteLedger):
        if ledger.views == "same":
            return await SqliteCheckpoints.open_in_ledger(ledger.place)
        return await SqliteCheckpoints.open(ledger.views or views_path(ledger.path))
    with _driver():
        from everlog.adapters.postgres.checkpoints import PostgresCheckpoints
        from everlog.adapters.postgres.ledger import PostgresLedger
    if isinstance(ledger, PostgresLedger):
        return await PostgresCheckpoints.open(ledger.place)
    raise NotSupported(
        "this ledger has no place for checkpoints; pass checkpoints=... to the store"
    )


def has_checkpoints(ledger: Ledger) -> bool:
    """Whether the place is there already where subscriptions of a ledger keep how far they are.

    Looking at one that is not must not make it: beside a SQLite file, it is another file.
    """
    from everlog.adapters.sqlite.ledger import SqliteLedger
    from everlog.adapters.sqlite.views_file import views_path

    if not isinstance(ledger, SqliteLedger) or ledger.views == "same":
        return True
    return os.path.exists(ledger.views or views_path(ledger.path))


async def migrate(
    url: str | PathLike[str], *, dry_run: bool, options: dict[str, Any]
) -> list[Migration]:
    """Applies what the ledger that a URL names lacks, or tells; returns it.

    What is in memory or in a SQLite file lacks nothing: it is made as it should be; a hub sees to
    its own.
    """
    kind, where, options = understood(url, options)
    if kind != "postgres":
        return []
    with _driver():
        from everlog.adapters.postgres import migrating
    return await migrating.migrate(where, dry_run=dry_run, **_of_migrations(options))


async def migration_script(
    url: str | PathLike[str], *, whole: bool, grant_to: str | None, options: dict[str, Any]
) -> str:
    """Returns as SQL what the ledger that a URL names lacks; the whole of it without looking."""
    kind, where, options = understood(url, options)
    if kind != "postgres":
        return ""
    with _driver():
        from everlog.adapters.postgres import migrating
    return await migrating.script(where, whole=whole, grant_to=grant_to, **_of_migrations(options))


def _of_migrations(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "migrate"}


def understood(
    url: str | PathLike[str], options: dict[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """Returns which adapter a URL names, what that is to open, and the options, checked.

    Raises `InvalidUrl`.
    """
    if isinstance(url, PathLike):
        url = _url_of(url)
    elif not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidUrl(f"a store's URL is text such as {KNOWN}, not {type(url).__name__}")
    if _LIBPQ.match(url):
        raise InvalidUrl("of PostgreSQL, a URL is needed: postgresql://user@host/database")
    scheme, colon, rest = url.partition(":")
    if not colon:
        shown = _redacted(url)
        hint = f"did you mean 'sqlite:///{shown}'?" if shown else f"use {KNOWN}"
        raise InvalidUrl(f"{shown!r} is no URL of a store; {hint}")
    match scheme:
        case "memory":
            if rest.strip("/"):
                raise InvalidUrl(
                    f"{_redacted(url)!r}: a store in memory has no name; use 'memory:'"
                )
            _refuse_views(options, "a store in memory has its read models in memory")
            _refuse_unknown(url, options, known=())
            return "memory", "", {}
        case "sqlite":
            return "sqlite", *_sqlite(url, options)
        case "postgres" | "postgresql":
            return "postgres", *postgres(url, options)
        case "https" | "http":
            return "hub", *_hub(url, options)
        case _:
            raise InvalidUrl(
                f"{_redacted(url)!r}: unknown kind of store {_redacted(scheme)!r}; use {KNOWN}"
            )


def _hub(url: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    _refuse_views(options, "a store far away has no read models")
    _refuse_unknown(url, options, known=("token", "allow_http", "timeout_s"))
    merged: dict[str, Any] = {"token": None, "allow_http": False, **options}
    if not isinstance(merged["allow_http"], bool):
        raise InvalidUrl("allow_http= is True or False")
    _take_timeout(merged)
    address_of(url, token=merged["token"], allow_http=merged["allow_http"])
    return url, merged


def _url_of(path: PathLike[str]) -> str:
    text = fspath(path)
    try:
        return "sqlite:///" + quote(text)
    except (UnicodeEncodeError, TypeError):
        raise InvalidUrl(f"the path {text!r} is no UTF-8 text") from None


def _sqlite(url: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if not url.startswith("sqlite:///") or url.startswith("sqlite://///"):
        raise InvalidUrl(
            f"{_redacted(url)!r}: use three slashes and a relative path, sqlite:///users.db, "
            "or four and an absolute one, sqlite:////var/lib/users.db"
        )
    parts = urlsplit(url)
    try:
        path = unquote(parts.path[1:], errors="strict")
    except UnicodeDecodeError:
        raise InvalidUrl(f"{_redacted(url)!r}: its path is no UTF-8") from None
    # In the URL too: urlsplit drops line breaks without a word.
    if _UNFIT.search(url) or _UNFIT.search(path):
        raise InvalidUrl(f"{_redacted(url)!r}: its path holds a control character or surrogate")
    if not path:
        raise InvalidUrl(f"{_redacted(url)!r} names no file; write sqlite:///users.db")
    if path == ":memory:":
        raise InvalidUrl("for a store in memory use 'memory:'")
    if parts.fragment:
        raise InvalidUrl(f"{_redacted(url)!r}: write # in a path as %23")
    try:
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:  # which may quote a password
        raise InvalidUrl(f"{_redacted(url)!r}: its query is not name=value pairs") from None
    merged: dict[str, Any] = {**query, **options}
    _refuse_unknown(url, merged, known=("durability", "timeout_s", "views"))
    if merged.get("durability", "full") not in ("full", "relaxed"):
        raise InvalidUrl(
            f"durability={merged['durability']!r} is not known; use 'full' or 'relaxed'"
        )
    _take_timeout(merged)
    if "views" in merged:
        merged["views"] = _views(merged["views"], path)
    return path, merged


def _views(views: object, ledger: str) -> str:
    """Returns where read models are to be: `same`, or an absolute path; raises `InvalidUrl`."""
    named = isinstance(views, (str, PathLike))
    text: object = fspath(cast("str | PathLike[str]", views)) if named else None
    if not isinstance(text, str) or not text:
        raise InvalidUrl(f"views={views!r} is not known; use 'same', or the path of a file")
    if text == "same":
        return text
    if _UNFIT.search(text):
        raise InvalidUrl("views= names a file with a control character or surrogate")
    # A slip of the pen must not become a file.
    if isinstance(views, str) and not re.search(r"[./\\]", text):
        raise InvalidUrl(
            f"views={text!r} is not known; use 'same' for the log's own file, or the path of "
            f"another one, such as './{text}' or '{text}.db'"
        )
    if os.path.realpath(text) == os.path.realpath(ledger):
        raise InvalidUrl("views= names the log's own file; to have read models there: views='same'")
    return os.path.abspath(text)


def _refuse_views(options: Iterable[str], why: str) -> None:
    if "views" in options:
        raise InvalidUrl(f"views= is for SQLite: {why}; leave it out")


POSTGRES_OPTIONS = ("schema", "migrate", "timeout_s", "pooler", "readers")
SCHEMA = re.compile("[a-z_][a-z0-9_]{0,62}")


def postgres(url: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns a PostgreSQL URL without what is ours, and our options; raises `InvalidUrl`."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidUrl("a PostgreSQL URL begins with postgresql://user@host/database")
    if _UNFIT.search(url):
        raise InvalidUrl("the PostgreSQL URL holds a control character or surrogate")
    # As libpq: an @ before the first / ends user and password, in which a ? is one like any other.
    user, at, rest = url.partition("@") if "@" in url.split("/", 3)[2] else ("", "", url)
    bare, _, query = rest.partition("?")
    bare = user + at + bare
    if bare.count("@") > len(at):
        # The end of the password would be taken for the host, and be named as that.
        raise InvalidUrl(
            "the PostgreSQL URL has an @ too many: in user, password and database write @ as %40, "
            "and / as %2F"
        )
    ours: dict[str, Any] = {}
    theirs: list[str] = []
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        if name in ours:
            raise InvalidUrl(f"the PostgreSQL URL says {name} twice")
        if name in POSTGRES_OPTIONS:
            ours[name] = unquote(value)
        else:
            theirs.append(pair)
    merged = {**ours, **options}
    said = [*merged, *(pair.partition("=")[0] for pair in theirs)]
    _refuse_views(said, "in PostgreSQL, read models are in the log's database")
    _refuse_unknown(url, merged, known=POSTGRES_OPTIONS)
    schema: object = merged.get("schema", "everlog")
    if not isinstance(schema, str) or not SCHEMA.fullmatch(schema):
        raise InvalidUrl(
            f"schema={_redacted(str(schema))!r:.80} cannot be the name of a schema: use lower-case "
            "letters, digits and _, 63 at most, with no digit first"
        )
    if schema.startswith("pg_") or schema == "information_schema":
        raise InvalidUrl(f"schema={schema!r} is PostgreSQL's own; use another name")
    if isinstance(migrate := merged.get("migrate"), str):
        if migrate not in ("true", "false"):
            raise InvalidUrl(f"migrate={migrate!r} is not known; use true or false")
        merged["migrate"] = migrate == "true"
    elif not isinstance(migrate, (bool, type(None))):
        raise InvalidUrl(f"migrate={migrate!r} is not known; use True, False or None")
    if merged.get("pooler", "none") not in ("none", "transaction"):
        raise InvalidUrl(f"pooler={merged['pooler']!r} is not known; use 'none' or 'transaction'")
    if "readers" in merged:
        try:
            merged["readers"] = int(merged["readers"])
        except (TypeError, ValueError):
            raise InvalidUrl(f"readers={merged['readers']!r} is no whole number") from None
        if not 1 <= merged["readers"] <= 1000:
            raise InvalidUrl(f"readers={merged['readers']} must be from 1 to 1000")
    _take_timeout(merged)
    return bare + ("?" + "&".join(theirs) if theirs else ""), merged


@contextmanager
def _driver() -> Generator[None]:
    """Says what to install where the driver of an adapter is missing."""
    try:
        yield
    except ImportError as error:
        raise NotSupported(
            f"a PostgreSQL store needs its driver ({error}): pip install 'everlog[postgres]'"
        ) from error


@contextmanager
def _client() -> Generator[None]:
    """Says what to install where what speaks HTTP is missing."""
    try:
        yield
    except ImportError as error:
        raise NotSupported(
            f"a hub's URL needs an HTTP client ({error}): pip install 'everlog[client]'"
        ) from error


def _take_timeout(options: dict[str, Any]) -> None:
    if "timeout_s" not in options:
        return
    try:
        options["timeout_s"] = float(options["timeout_s"])
    except (TypeError, ValueError) as error:
        raise InvalidUrl(f"timeout_s={options['timeout_s']!r} is no number") from error
    if not 0 <= options["timeout_s"] <= 86_400:
        raise InvalidUrl(f"timeout_s={options['timeout_s']} must be from 0 to 86400 seconds")


def _refuse_unknown(url: str, options: dict[str, Any], *, known: tuple[str, ...]) -> None:
    for name in options:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise InvalidUrl(f"{_redacted(url)!r} knows no option {name!r} (it knows: {allowed})")


def _redacted(url: str) -> str:
    """Returns the URL without what may hold a password: before an @, behind any of ? # =."""
    if "@" in url:
        scheme = re.match(r"[a-z0-9+.-]+://", url)
        return f"{scheme.group() if scheme else ''}..."
    return re.sub(r"([?#=]).*", r"\1...", url, flags=re.DOTALL)
