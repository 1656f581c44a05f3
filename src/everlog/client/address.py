"""Addresses: where a hub is, and what opens its door; both checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from everlog.errors import InvalidInput, InvalidUrl
from everlog.wire.hosts import is_loopback

_UNFIT = re.compile("[\x00-\x20\x7f-\U0010ffff]")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a hub is."""

    base: str
    """Its URL, without a slash at the end."""
    token: str | None = field(repr=False)
    near: bool
    """Whether it is on this machine."""


def address_of(url: str, *, token: str | None, allow_http: bool = False) -> Address:
    """Returns where a hub is; raises `InvalidUrl`, and `InvalidInput` for what is no token.

    `allow_http`: also in the clear to another machine, where anybody on the way can read the token
    and all events. The token is never part of a URL, so that no log has it.
    """
    if _UNFIT.search(url):
        raise InvalidUrl("the hub's URL holds a character that a URL cannot hold; write it as %..")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidUrl("the hub's URL has a host or port that is none") from None
    if parts.scheme not in ("http", "https") or not url.startswith(f"{parts.scheme}://"):
        raise InvalidUrl("a hub's URL begins with https://, such as https://hub.example.com")
    if "@" in parts.netloc:
        raise InvalidUrl(
            "the hub's URL has a user or password in it, which logs would show; pass token=..."
        )
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise InvalidUrl(
            f"the URL of hub {parts.netloc!r} ends behind its path; a token is passed as token=..."
        )
    if not host:
        raise InvalidUrl("the hub's URL names no host; write https://hub.example.com")
    near = is_loopback(host)
    if parts.scheme == "http" and not near and not allow_http:
        raise InvalidUrl(
            f"http://{parts.netloc} is another machine, and everybody on the way could read the "
            "token and all events; use https://, or say allow_http=True if the way is safe"
        )
    return Address(url.rstrip("/"), check_token(token), near)


def check_token(token: object) -> str | None:
    """Returns what opens a hub's door; raises `InvalidInput`, which does not show it."""
    if token is None:
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidInput(
            "token= is the text that `everlog token create` has shown: letters, digits and signs, "
            "without spaces or line breaks (it is not shown here)"
        )
    return token
