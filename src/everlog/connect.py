"""From a URL to a ledger: the only file that knows all adapters."""

from __future__ import annotations

import re
from os import PathLike, fspath
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from everlog.errors import InvalidUrl
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams

KNOWN = "memory: or sqlite:///path/to/file.db"

_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


async def connect(url: str | PathLike[str], *, seams: Seams, options: dict[str, Any]) -> Ledger:
    """Opens the ledger that a URL names.

    - `memory:`
    - `sqlite:///relative.db`, `sqlite:////absolute/path.db`; options as arguments or in the query:
      `durability=full|relaxed`, `timeout_s=30`
    - a `Path`: that of a SQLite file

    Raises `InvalidUrl`, and what opening the ledger raises.
    """
    if isinstance(url, PathLike):
        url = _url_of(url)
    elif not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidUrl(f"a store's URL is text such as {KNOWN}, not {type(url).__name__}")
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
            from everlog.adapters.memory.ledger import MemoryLedger

            return MemoryLedger(seams=seams)
        case "sqlite":
            path, options = _sqlite(url, options)
            from everlog.adapters.sqlite.ledger import SqliteLedger

            return await SqliteLedger.open(path, seams=seams, **options)
        case "postgres" | "postgresql":
            raise InvalidUrl(f"this version of everlog has no PostgreSQL store yet; use {KNOWN}")
        case _:
            raise InvalidUrl(f"{_redacted(url)!r}: unknown kind of store {scheme!r}; use {KNOWN}")


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
    if "timeout_s" in merged:
        try:
            merged["timeout_s"] = float(merged["timeout_s"])
        except (TypeError, ValueError) as error:
            raise InvalidUrl(f"timeout_s={merged['timeout_s']!r} is no number") from error
        if not 0 <= merged["timeout_s"] <= 86_400:
            raise InvalidUrl(f"timeout_s={merged['timeout_s']} must be from 0 to 86400 seconds")
    return path, merged


def _refuse_unknown(url: str, options: dict[str, Any], *, known: tuple[str, ...]) -> None:
    for name in options:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise InvalidUrl(f"{_redacted(url)!r} knows no option {name!r} (it knows: {allowed})")


def _redacted(url: str) -> str:
    """Returns the URL without what may hold a password: before an @, in the query or fragment."""
    if "@" in url:
        scheme = re.match(r"[a-z0-9+.-]+://", url)
        return f"{scheme.group() if scheme else ''}..."
    return re.sub(r"([?#]).*", r"\1...", url, flags=re.DOTALL)
