"""From a URL to a ledger: the only file that knows all adapters."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from everlog.errors import InvalidUrl, NotSupported
from everlog.ports.ledger import Ledger
from everlog.ports.migration import Migration
from everlog.ports.seams import Seams

KNOWN = "memory:, sqlite:///path/to/file.db or postgresql://user@host/database"

# What libpq also takes for a place, and may have a password: "host=db user=me password=...".
_LIBPQ = re.compile(r"\s*(?:host|hostaddr|port|dbname|user|password|service|ssl\w+)\s*=")
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


async def connect(url: str | PathLike[str], *, seams: Seams, options: dict[str, Any]) -> Ledger:
    """Opens the ledger that a URL names.

    - `memory:`
    - `sqlite:///relative.db`, `sqlite:////absolute/path.db`; options as arguments or in the query:
      `durability=full|relaxed`, `timeout_s=30`
    - a `Path`: that of a SQLite file
    - `postgresql://user@host/database?schema=everlog`; options as arguments or in the query:
      `schema`, `migrate`, `timeout_s=30`, `pooler=none|transaction`, `readers=4`; what else is in
      the query is libpq's

    Raises `InvalidUrl`, `NotSupported` without the driver, and what opening the ledger raises.
    """
    kind, where, options = understood(url, options)
    if kind == "memory":
        from everlog.adapters.memory.ledger import MemoryLedger

        return MemoryLedger(seams=seams)
    if kind == "sqlite":
        from everlog.adapters.sqlite.ledger import SqliteLedger

        return await SqliteLedger.open(where, seams=seams, **options)
    with _driver():
        from everlog.adapters.postgres.ledger import PostgresLedger
    return await PostgresLedger.open(where, seams=seams, **options)


async def migrate(
    url: str | PathLike[str], *, dry_run: bool, options: dict[str, Any]
) -> list[Migration]:
    """Applies what the ledger that a URL names lacks, or tells; returns it.

    What is in memory or in a SQLite file lacks nothing: it is made as it should be.
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
            _refuse_unknown(url, options, known=())
            return "memory", "", {}
        case "sqlite":
            return "sqlite", *_sqlite(url, options)
        case "postgres" | "postgresql":
            return "postgres", *postgres(url, options)
        case _:
            raise InvalidUrl(
                f"{_redacted(url)!r}: unknown kind of store {_redacted(scheme)!r}; use {KNOWN}"
            )


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
    _refuse_unknown(url, merged, known=("durability", "timeout_s"))
    if merged.get("durability", "full") not in ("full", "relaxed"):
        raise InvalidUrl(
            f"durability={merged['durability']!r} is not known; use 'full' or 'relaxed'"
        )
    _take_timeout(merged)
    return path, merged


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
