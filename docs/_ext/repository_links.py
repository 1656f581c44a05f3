"""Links to what is in the repository and not on the site: its path, and no link.

A page may link to `../../examples/bank`, which is right wherever the repository itself is looked
at. The site has no such page, and does not know where the repository is: there the path is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the transform."""
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class RepositoryLinks(SphinxTransform):
    """Puts the path of a file or folder outside of docs/ in the place of a link to it."""

    default_priority = 10  # before anything looks for what a link leads to

    def apply(self, **_: object) -> None:
        """Changes the page."""
        docs = Path(self.env.srcdir)
        page = docs / self.env.doc2path(self.env.docname, base=False)
        found = [
            node
            for kind in (pending_xref, download_reference, nodes.reference)
            for node in self.document.findall(kind)
        ]
        for node in found:
            target = str(node.get("reftarget") or node.get("refuri") or "").partition("#")[0]
            if not target or "://" in target:
                continue
            place = (page.parent / target).resolve()
            path = place.relative_to(docs.parent) if place.is_relative_to(docs.parent) else None
            if path is None or place.is_relative_to(docs) or not place.exists():
                continue
            told = f"{path.as_posix()}/" if place.is_dir() else path.as_posix()
            text, where = node.astext().strip("/"), nodes.literal(told, told)
            if text in (told.strip("/"), place.name):
                node.replace_self(where)
            else:
                node.replace_self([*node.children, nodes.Text(" ("), where, nodes.Text(")")])
