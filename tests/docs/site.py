"""A built site: its pages, what can be linked to in them, and the links that lead nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Page(NamedTuple):
    """A page of a site."""

    ids: frozenset[str]
    links: tuple[str, ...]
    """What `href` and `src` say, in their order."""
    loads: tuple[str, ...]
    """Of them, what a browser fetches by itself."""
    text: str


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.ids.add(value)
            if name in ("href", "src"):
                self.links.append(value)
                if tag != "a":
                    self.loads.append(value)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def pages_of(site: Path) -> Mapping[str, Page]:
    """Returns the pages of a site by their paths."""
    found: dict[str, Page] = {}
    for path in sorted(site.rglob("*.html")):
        reader = _Reader()
        reader.feed(path.read_text("utf-8"))
        found[path.relative_to(site).as_posix()] = Page(
            frozenset(reader.ids), tuple(reader.links), tuple(reader.loads), "".join(reader.text)
        )
    return found


def dead_links(site: Path, pages: Mapping[str, Page]) -> list[str]:
    """Returns the links within a site that lead to no file, or to no place in a page."""
    dead: list[str] = []
    for name, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            place = (site / name).parent / unquote(parts.path) if parts.path else site / name
            place = place.resolve()
            there = place.relative_to(site.resolve()).as_posix() if place.is_file() else ""
            fragment = unquote(parts.fragment)
            if not there or (fragment and there in pages and fragment not in pages[there].ids):
                dead.append(f"{name}: {link}")
    return dead
