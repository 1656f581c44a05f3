"""The directive `routes`: what can be asked of a hub, from the server's own table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from everlog.server.routes import ROUTES

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("routes", Routes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Routes(SphinxDirective):
    """Makes the table."""

    def run(self) -> list[nodes.Node]:
        """Returns it, in the order of the server's table."""
        lines = [".. list-table::", "   :header-rows: 1", ""]
        lines += ["   * - Asked", "     - Needs", "     - Does"]
        for route in ROUTES:
            lines += [
                f"   * - ``{route.method} {route.path}``",
                f"     - {route.needs.value}",
                f"     - {route.about}",
            ]
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines), self.content_offset, holder)
        return list(holder.children)
