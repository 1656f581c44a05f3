"""The documentation's site: `python3 dev.py docs` builds it, offline, and a warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.sql import PsqlRegexLexer  # pyright: ignore[reportMissingTypeStubs]  # none

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS / "_ext"), str(ROOT / "src")]


import everlog  # noqa: E402 - found by the line above, where it is not installed

project = "everlog"
author = "The everlog authors"
copyright = "the everlog authors, MIT licence"
version = release = everlog.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    # Ours, in docs/_ext.
    "command_help",
    "docstrings",
    "foreign_types",
    "repository_links",
    "routes",
]
exclude_patterns = ["_ext"]

# A link to a heading, as a git forge makes it: `guarantees.md#36-effects`.
myst_heading_anchors = 4

# It takes nothing from elsewhere when a page is read; a test looks.
html_theme = "furo"
html_title = "everlog"
html_copy_source = False
smartquotes = False

# --- the reference --------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# A default that is an object of ours is shown as it is written.
autodoc_preserve_defaults = True
# `Values`, not `Sequence[object] | Mapping[str, object]`.
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# A reference that leads nowhere is a warning (`-n`), but for what stands in a signature only
# because Python needs it there, and no program has in its hands.
nitpick_ignore = [
    ("py:class", f"everlog.{name}")
    for name in (
        "blocking.ledger.Ledger",
        "core.aggregate.Saver",
        "server.access.Caller",
        "subscriptions.effects.Once",
        "subscriptions.effects.Planned",
        "subscriptions.from_thread.FromThread",
    )
]

# --- the pages of a folder ------------------------------------------------------------------------

PAGES = re.compile(r"^<!-- pages(: hidden)? -->$", re.M)
"""Where the contents of a folder go. A comment, as a toctree is of use on the site alone."""


def setup(app: Sphinx) -> None:
    """Has Sphinx ask us for each page that it reads."""
    app.connect("source-read", _list_pages)
    app.connect("build-finished", _copy_llms)
    # What psql is told begins with a backslash.
    app.add_lexer("sql", PsqlRegexLexer)


def _list_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Lists the pages of its folder, in the order of their names; a new one needs no edit."""
    page = DOCS / f"{name}.md"
    others = sorted(other.stem for other in page.parent.glob("*.md") if other != page)

    def contents(found: re.Match[str]) -> str:
        hidden = ":hidden:\n" if found[1] else ""
        listed = "\n".join(others)
        return f"```{{toctree}}\n:maxdepth: 1\n{hidden}\n{listed}\n```" if others else ""

    source[0] = PAGES.sub(contents, source[0])


def _copy_llms(app: Sphinx, error: Exception | None) -> None:
    """Puts llms.txt at the root of the site, where it leads to the site's own pages."""
    if error is None:
        text = (ROOT / "llms.txt").read_text("utf-8")
        text = re.sub(r"\]\(docs/([^)]+)\.md\)", r"](\1.html)", text)
        (Path(app.outdir) / "llms.txt").write_text(text, "utf-8")
