"""The site builds without a warning, holds all that is public, and no link in it is dead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import dev
import everlog
import everlog.blocking
import everlog.errors
import everlog.printing
import everlog.server
import everlog.testing
import everlog.testing.contract
import everlog.testing.torture
from everlog import EventStore
from tests.docs.site import Page, dead_links, pages_of

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PUBLIC = (
    everlog,
    everlog.blocking,
    everlog.printing,
    everlog.server,
    everlog.testing,
    everlog.testing.contract,
    everlog.testing.torture,
)


class Site(NamedTuple):
    """The site as it was built."""

    code: int
    said: str
    folder: Path
    pages: Mapping[str, Page]

    @property
    def reference(self) -> frozenset[str]:
        """The names that the reference has an entry for."""
        return frozenset(
            id
            for name, page in self.pages.items()
            if name.startswith("reference/")
            for id in page.ids
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    env = dev.Environment(Path(sys.prefix), folder, folder, 0)
    done = subprocess.run(
        [*dev.sphinx(env), "-d", folder / "read", ROOT / "docs", folder / "site"],
        capture_output=True,
        text=True,
        # Whatever would ask the network for something asks where nobody listens.
        env={**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
        check=False,
    )
    built = folder / "site"
    return Site(done.returncode, done.stdout + done.stderr, built, pages_of(built))


def test_the_site_builds_without_a_warning_and_has_every_page(site: Site) -> None:
    assert (site.code, site.said) == (0, "")
    written = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        for path in (ROOT / "docs").rglob("*.md")
    }
    assert "index.html" in written
    assert written <= site.pages.keys()


def test_no_link_within_the_site_is_dead(site: Site) -> None:
    assert sum(len(page.links) for page in site.pages.values()) > 1_000
    assert dead_links(site.folder, site.pages) == []


def test_a_reader_of_the_site_loads_nothing_from_elsewhere(site: Site) -> None:
    loads = {load for page in site.pages.values() for load in page.loads}
    assert loads
    assert [load for load in loads if "//" in load and not load.startswith("data:")] == []
    styles = "".join(path.read_text("utf-8") for path in site.folder.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*['\"]?https?:", styles) == []


def test_the_reference_is_the_docstrings(site: Site) -> None:
    text = " ".join(site.pages["reference/store.html"].text.split())
    assert "everlog.EventStore.append" in site.pages["reference/store.html"].ids
    for sentence in re.findall(r"^[A-Z][a-z ,]+\.$", EventStore.append.__doc__ or "", re.M):
        assert sentence in text
    assert "Appends events to a stream, all or nothing, and returns their records." in text


def test_no_markup_of_a_docstring_is_shown(site: Site) -> None:
    for name in site.pages:
        if name.startswith("reference/"):
            text = (site.folder / name).read_text("utf-8")
            text = re.sub(r"<pre>.*?</pre>|<[^>]+>", "", text, flags=re.S)
            assert re.findall(r".*(?:`|:py:|\\).*", text) == [], name


def names_of(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = [thing for thing in vars(module).values() if isinstance(thing, type)]
    return [thing.__name__ for thing in own if thing.__module__ == module.__name__]


def missing_from(entries: frozenset[str], module: ModuleType) -> list[str]:
    """Returns the public names of a module that have no entry, under no name of the same thing."""
    missing: list[str] = []
    for name in names_of(module):
        thing = getattr(module, name)
        known = {f"{module.__name__}.{name}"}
        if getattr(everlog, name, None) is thing:
            known.add(f"everlog.{name}")
        if hasattr(thing, "__qualname__"):
            known.add(f"{thing.__module__}.{thing.__qualname__}")
        if known.isdisjoint(entries):
            missing.append(name)
    return missing


@pytest.mark.parametrize("module", [*PUBLIC, everlog.errors], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: ModuleType, site: Site) -> None:
    assert names_of(module)
    assert missing_from(site.reference, module) == []


def test_every_module_that_says_what_is_public_is_held_to_it() -> None:
    package = ROOT / "src" / "everlog"
    saying = {
        ".".join(path.parent.relative_to(package.parent).parts)
        for path in package.rglob("__init__.py")
        if re.search(r"^__all__ = ", path.read_text("utf-8"), re.M)
    }
    # What it has is in `everlog.testing`, too.
    assert saying - {"everlog.testing.postgresql"} == {module.__name__ for module in PUBLIC}


def test_a_public_name_without_an_entry_is_told(site: Site) -> None:
    entries = site.reference - {"everlog.Record"}
    assert missing_from(entries, everlog) == ["Record"]
    assert missing_from(entries, everlog.blocking) == ["Record"]
    assert missing_from(site.reference - {"everlog.errors.WrongVersion"}, everlog) == [
        "WrongVersion"
    ]


def test_the_page_of_the_blocking_store_names_all_that_is_public_there(site: Site) -> None:
    words = set(re.findall(r"\w+", site.pages["reference/blocking.html"].text))
    assert set(everlog.blocking.__all__) <= words


def test_the_page_of_the_command_line_says_what_help_says(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "everlog", "effects", "list", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "88", "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
    assert done.stdout.strip() in site.pages["reference/command-line.html"].text


def test_a_file_of_the_repository_is_named_where_the_site_has_no_page_of_it(site: Site) -> None:
    page = site.pages["how-to/sync.html"]
    assert "examples/two_services/" in page.text
    assert not any("examples" in link for link in page.links)


def test_llms_txt_is_at_the_root_and_leads_to_the_pages_of_the_site(site: Site) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (site.folder / "llms.txt").read_text("utf-8"))
    assert links
    assert [link for link in links if link not in site.pages] == []


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        "<a href='sub/page.html#here'>1</a><a href='sub/page.html#gone'>2</a>"
        "<a href='#top'>3</a><a href='gone.html'>4</a><a href='https://example.com/x'>5</a>"
        "<p id='top'>"
    )
    (tmp_path / "sub" / "page.html").write_text("<p id='here'><img src='../gone.png'>")
    assert dead_links(tmp_path, pages_of(tmp_path)) == [
        "index.html: sub/page.html#gone",
        "index.html: gone.html",
        "sub/page.html: ../gone.png",
    ]
