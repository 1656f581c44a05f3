"""Types of Python, of other packages, and type variables: shown in signatures, and linked nowhere.

The site is built offline, so it knows of no page that has them. With them out of the way, every
reference that leads nowhere is a warning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sphinx.addnodes import pending_xref
from sphinx.util.nodes import find_pending_xref_condition

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

_VARIABLE = re.compile(r".*\.[A-Z][0-9]?(_co|_contra)?")


def setup(app: Sphinx) -> dict[str, bool]:
    """Has Sphinx show us each page that it has read."""
    app.connect("doctree-read", _unlink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _unlink(app: Sphinx, page: nodes.document) -> None:
    for reference in list(page.findall(pending_xref)):
        target = str(reference.get("reftarget"))
        if reference.get("refdomain") == "py" and is_foreign(target):
            shown = find_pending_xref_condition(reference, "resolved")
            reference.replace_self((reference if shown is None else shown).children)


def is_foreign(target: str) -> bool:
    """Whether the reference cannot have it.

    >>> [is_foreign(name) for name in ("type", "datetime.datetime", "everlog.store.reading.E")]
    [True, True, True]
    >>> is_foreign("everlog.Record")
    False
    """
    return not target.startswith("everlog.") or _VARIABLE.fullmatch(target) is not None
