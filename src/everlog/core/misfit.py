"""What a codec raises: text or a value that does not fit a class."""

from __future__ import annotations

from collections.abc import Iterable


class Misfit(Exception):
    """Text does not fit a class. Internal: turned into a public error where the event is known."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        super().__init__("does not fit")
        self.problems = tuple(problems)
        """Pairs of the path below data or meta (`.name.given`) and what is wrong there."""


def path_of(parts: Iterable[object]) -> str:
    """Returns `.name.items[3]` for `("name", "items", 3)`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
