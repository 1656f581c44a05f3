"""The tutorial is true: who follows it to the letter, from an empty folder, sees what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.following import ROOT, Run, a_free_port, alike, reader, steps_of

pytestmark = [pytest.mark.once, pytest.mark.timeout(400)]

PAGES = sorted((ROOT / "docs" / "tutorial").glob("[1-9]-*.md"))
PORT = "8787"


def test_the_tutorial_leads_from_an_empty_folder_to_two_services_in_step(tmp_path: Path) -> None:
    assert len(PAGES) == 5
    with reader(tmp_path, replaced={PORT: a_free_port()}) as someone:
        for page in PAGES:
            someone.follow(page)
        assert someone.say("wait") == ("", 0)
        assert someone.jobs() == [], "the tutorial ends what it has begun"
        assert len(someone.ran) > 40


def test_what_the_tutorial_shows_is_compared_and_not_only_run() -> None:
    steps = [step for page in PAGES for step in steps_of(page)]
    shown = [step for step in steps if isinstance(step, Run) and step.said is not None]
    assert len(shown) > 25
    assert all(step.said for step in shown), "each command of a session says something"
    slow = alike("3 passed in 64.00s (0:01:04)\n")
    assert alike("3 passed in 0.12s\n") == slow != alike("2 passed in 0.12s\n")


def test_a_page_that_is_not_true_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n# a.py\nprint(1)\n```\n\n```console\n$ python a.py\n2\n```\n")
    with reader(tmp_path) as someone, pytest.raises(AssertionError, match=r"python a\.py"):
        someone.follow(page)
    page.write_text("```sh\nfalse\n```\n")
    with reader(tmp_path) as someone, pytest.raises(AssertionError, match="false"):
        someone.follow(page)
    page.write_text("```py\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match="nobody can follow"):
        steps_of(page)
