"""Docstrings of everlog as reStructuredText: they are written to be read in an editor.

In them code stands between single backticks, lists begin with `-`, and what is indented is shown as
it stands. Nothing else is markup: what would be in reStructuredText is written out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import everlog
import everlog.blocking
import everlog.errors

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_SPAN = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<![*\w])\*([^*\s][^*]*)\*(?!\w)")
_LIST = re.compile(r"(\s*)(- )(.*)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Has Sphinx ask us for each docstring."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    if lines and lines[0].startswith("Alias for field number"):  # a tuple's, where we say nothing
        lines.clear()
    lines[:] = as_rst("\n".join(lines), blocking=name.startswith("everlog.blocking")).split("\n")


def as_rst(text: str, *, blocking: bool = False) -> str:
    """Returns a docstring of ours as reStructuredText.

    Classes that have a place in the reference are linked; in the blocking API to its own, where it
    has one.

    >>> print(as_rst("Adds *one* to `n`, as `x_` and a_b say.\\n\\n- `n`: a number\\n- more"))
    Adds *one* to ``n``, as ``x_`` and a\\_b say.
    <BLANKLINE>
    - ``n``: a number
    - more
    >>> print(as_rst("Drawn:\\n\\n    a_b *"))
    Drawn:
    <BLANKLINE>
    ::
    <BLANKLINE>
        a_b *
    """
    return "\n\n".join(
        _block(block, blocking=blocking) for block in _blocks(text.expandtabs().strip("\n"))
    )


def _blocks(text: str) -> Iterator[str]:
    """Cuts a text at its empty lines; what is indented stays in one piece."""
    blocks = re.split(r"\n[ ]*\n", text)
    while blocks:
        block = blocks.pop(0)
        while _is_drawn(block) and blocks and _is_drawn(blocks[0]):
            block += "\n\n" + blocks.pop(0)
        yield block


def _is_drawn(block: str) -> bool:
    return block.startswith("    ") and not block.lstrip().startswith(">>>")


def _block(block: str, *, blocking: bool) -> str:
    if _is_drawn(block):
        return f"::\n\n{block}"
    if block.lstrip().startswith(">>>"):
        return inspect.cleandoc(block)
    lines: list[str] = []
    for line in _joined(block):
        found = _LIST.match(line)
        if found is None:
            lines.append(_prose(line, blocking=blocking))
            continue
        if lines and not _LIST.match(lines[-1]):  # a list that follows its paragraph at once
            lines.append("")
        lines.append(found[1] + found[2] + _prose(found[3], blocking=blocking))
    return "\n".join(lines)


def _joined(block: str) -> list[str]:
    """The paragraphs and items of a block, each in one line: code may be broken at its end."""
    joined: list[str] = []
    for line in block.split("\n"):
        if joined and not _LIST.match(line):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _prose(text: str, *, blocking: bool) -> str:
    """Writes out what reStructuredText would take for markup, and marks what is code."""
    written, end = "", 0
    for span in _SPAN.finditer(text):
        written += _plain(text[end : span.start()])
        # A role needs no space around it if it is told so.
        before = "" if not written or re.search(r"[\s(\[{'\"/-]$", written) else "\\ "
        after = "" if re.match(r"[\s.,;:!?)\]}'\"/-]|$", text[span.end() :]) else "\\ "
        written += before + _marked(span, blocking=blocking) + after
        end = span.end()
    return written + _plain(text[end:])


def _marked(span: re.Match[str], *, blocking: bool) -> str:
    code, strong, emphasis = span.groups()
    if strong is not None:
        return f"**{strong}**"
    if emphasis is not None:
        return f"*{emphasis}*"
    target = _places(blocking).get(code)
    return f":py:class:`{code} <{target}>`" if target else f"``{code}``"


def _plain(text: str) -> str:
    return re.sub(r"([\\*_|])", r"\\\1", text)


@cache
def _places(blocking: bool) -> dict[str, str]:
    """Where the reference has the classes that a docstring names."""
    places: dict[str, str] = {}
    for module in (everlog, everlog.blocking) if blocking else (everlog,):
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, type) and getattr(everlog, name) is thing:
                places[name] = f"everlog.{name}"
            elif isinstance(thing, type):
                places[name] = f"everlog.blocking.{name}"
    for name, thing in vars(everlog.errors).items():
        if isinstance(thing, type) and issubclass(thing, everlog.EverlogError):
            places[name] = f"everlog.errors.{name}"
    return places
