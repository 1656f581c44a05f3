"""The directive `command-help`: a section for each command, with what its `--help` says."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from everlog.cli.command_line import parser_of

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_PLAIN = {"COLUMNS": "88", "NO_COLOR": "1"}


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def helps() -> Iterator[tuple[str, str]]:
    """Returns each command, such as `everlog effects list`, and what its `--help` says."""
    with mock.patch.dict(os.environ, _PLAIN):
        yield from _below(parser_of([]))


def _below(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    yield parser.prog, parser.format_help().rstrip()
    for action in parser._actions:  # it has no public list of its commands
        choices: Any = action.choices
        if isinstance(choices, dict):
            for command in cast("dict[str, argparse.ArgumentParser]", choices).values():
                yield from _below(command)


class CommandHelp(SphinxDirective):
    """Makes the sections."""

    def run(self) -> list[nodes.Node]:
        """Returns them, in the order of the help."""
        sections: list[nodes.Node] = []
        for command, text in helps():
            section = nodes.section(ids=[command.replace(" ", "-")], names=[command])
            section += nodes.title(command, "", nodes.literal(command, command))
            section += nodes.literal_block(text, text, language="text")
            self.state.document.note_explicit_target(section)
            sections.append(section)
        return sections
