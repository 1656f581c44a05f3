"""URLs of ledgers in PostgreSQL, as the torture needs them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def dsn_of(url: str) -> str:
    """Returns what libpq understands of a ledger's URL: all but the options that are everlog's."""
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name in known]
    return urlunsplit(parts._replace(query=urlencode(query)))


def is_postgres(url: str) -> bool:
    """Whether a URL is one of PostgreSQL's."""
    return urlsplit(url).scheme in ("postgres", "postgresql")


def marked(url: str, name: str) -> str:
    """Returns the URL with a name by which the server knows the connections that are made of it."""
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query) if pair[0] != "application_name"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("application_name", name)])))
