"""Accepting: which of the kinds of an answer a request asks for."""

from __future__ import annotations

from collections.abc import Sequence

from everlog.server.asking import Asking


def wants(asking: Asking, media: str) -> bool:
    """Whether a request asks for this kind, of those that its route gives."""
    return accepted(asking.headers.get("accept"), asking.route.gives) == media


def accepted(accept: str | None, gives: Sequence[str]) -> str | None:
    """Returns the first of the media types that a request accepts best; None for none of them."""
    if accept is None or not accept.strip():
        return gives[0]
    found: dict[str, float] = {}
    for part in accept.split(",")[:50]:
        media, *parameters = part.split(";")
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        found.setdefault(media.strip().lower(), quality)

    def how_much(media: str) -> float:
        kind = media.partition("/")[0] + "/*"
        return next((found[each] for each in (media, kind, "*/*") if each in found), 0.0)

    best = max(gives, key=how_much)
    return best if how_much(best) > 0 else None
