"""Layout: Python in lines of some width, broken where ruff would break them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Group:
    """Items between brackets: `Field(` ... `)`."""

    head: str
    items: tuple[Doc, ...]
    tail: str


@dataclass(frozen=True, slots=True)
class After:
    """Something behind fixed text: `default=` ..."""

    before: str
    doc: Doc


@dataclass(frozen=True, slots=True)
class Either:
    """Types of which any will do: `A | B`."""

    items: tuple[Doc, ...]


Doc: TypeAlias = str | Group | After | Either


def flat(doc: Doc) -> str:
    """Returns it in one line."""
    match doc:
        case str():
            return doc
        case After(before, inner):
            return before + flat(inner)
        case Group(head, items, tail):
            return head + ", ".join(map(flat, items)) + tail
        case Either(items):
            return " | ".join(map(flat, items))


def lay_out(doc: Doc, *, width: int, indent: int = 0, used: int = 0, after: int = 0) -> str:
    """Returns it in as many lines as it needs; the first goes on where `used` characters stand.

    `after`: so many characters follow on its last line. Broken brackets have an item in each line
    and a comma behind the last, which formatters leave as it is.
    """
    line = flat(doc)
    if indent + used + len(line) + after <= width:
        return line
    match doc:
        case After(before, inner):
            rest = lay_out(inner, width=width, indent=indent, used=used + len(before), after=after)
            return before + rest
        case Group(head, items, tail) if items:
            inside = indent + 4
            lines = "".join(
                f"{' ' * inside}{lay_out(item, width=width, indent=inside, after=1)},\n"
                for item in items
            )
            return f"{head}\n{lines}{' ' * indent}{tail}"
        case _:
            return line


def assignment(target: str, doc: Doc, *, width: int, indent: int = 0) -> str:
    """Returns `target = doc`, in lines."""
    if isinstance(doc, Either) and indent + len(target) + 3 + len(flat(doc)) > width:
        inner = flat(doc)
        pad = " " * (indent + 4)
        if indent + 4 + len(inner) > width:
            inner = f"\n{pad}| ".join(map(flat, doc.items))
        return f"{target} = (\n{pad}{inner}\n{' ' * indent})"
    return f"{target} = " + lay_out(doc, width=width, indent=indent, used=len(target) + 3)


def text(value: str) -> str:
    """Returns a literal of Python, in the quotes that need fewer escapes."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + "".join(_escaped(each, quote) for each in value) + quote


def _escaped(character: str, quote: str) -> str:
    if character in ("\\", quote):
        return "\\" + character
    if character.isprintable():
        return character
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or _numbered(ord(character))


def _numbered(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def docstring(value: str, *, indent: int, width: int) -> list[str]:
    """Returns the lines of a docstring; none for no text."""
    import textwrap

    if not value:
        return []
    pad = " " * indent
    escaped = "".join(
        each if each.isprintable() or each == "\n" else " " for each in value.replace("\t", " ")
    )
    escaped = escaped.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    paragraphs = [line.strip() for line in escaped.split("\n")]
    lines: list[str] = []
    for index, paragraph in enumerate(paragraphs):
        room = width - indent - (3 if index == 0 else 0) - (3 if len(paragraphs) == 1 else 0)
        lines += textwrap.wrap(paragraph, max(room, 20), break_long_words=False) or [""]
    if lines[-1].endswith('"'):
        lines[-1] += " "
    if len(lines) == 1:
        return [f'{pad}"""{lines[0]}"""']
    body = [f'{pad}"""{lines[0]}', *(f"{pad}{line}" if line else "" for line in lines[1:])]
    body[-1] = body[-1].rstrip()
    return [*body, f'{pad}"""']


def comma_separated(items: Sequence[str]) -> str:
    """Returns them in one line."""
    return ", ".join(items)
