"""Every block of code in docs/ is run by a test, or says why not; what is not run parses."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

from everlog.cli.command_line import COMMANDS, parser_of
from tests.docs.blocks import (
    DOCS,
    IN_ONE_FOLDER,
    ROOT,
    RUNNABLE,
    Block,
    blocks_of,
    name_of,
    owners,
    pages,
    run,
)

pytestmark = pytest.mark.once

OWNERS = owners()
BLOCKS = [block for page in pages() for block in blocks_of(page)]

# Commands that no test runs, by the page and how they begin, with the reason. Those of `everlog`
# are held against its own parser all the same.
NOT_RUN = {
    ("how-to/command-line.md", "everlog doctor --json | jq"): "jq is another program",
    ("how-to/command-line.md", "everlog subscriptions parked"): "needs a handler that has failed",
    ("how-to/command-line.md", "everlog completion bash"): "writes to the home of who runs it",
    ("how-to/events.md", "everlog print"): "the program below it does the same",
    ("how-to/events.md", "everlog: stored events"): "what a command says of made-up events",
    ("how-to/events.md", "everlog schema check"): "needs a server, and a shop's log",
    ("how-to/events.md", "14 events"): "what that command says of a shop's log",
}
OTHERS = {"text", "py", "json"}
DIRECTIVES = re.compile(r"\{(eval-rst|toctree|command-help|routes)\}")


def reason_of(block: Block) -> str | None:
    """Why a block is not run; None if it has to be."""
    for (page, beginning), reason in NOT_RUN.items():
        if name_of(block.page) == page and block.text.startswith(beginning):
            return reason
    return None


def groups() -> dict[str, list[Block]]:
    """The programs that no test of its own page runs: one by one, or a page's together."""
    found: dict[str, list[Block]] = {}
    for block in BLOCKS:
        page = name_of(block.page)
        if block.language == "python" and page not in OWNERS:
            together = IN_ONE_FOLDER in block.page.read_text("utf-8").splitlines()
            found.setdefault(page if together else block.place, []).append(block)
    return found


PROGRAMS = groups()


@pytest.mark.parametrize("place", PROGRAMS)
def test_a_program_of_the_documentation_runs_and_says_what_stands_below_it(
    place: str, tmp_path: Path
) -> None:
    for block in PROGRAMS[place]:
        done = run(block, tmp_path)
        assert (done.code, done.stderr) == (0, ""), block.place
        if block.said is not None:
            assert done.stdout == block.said, block.place


def test_each_page_is_run_by_one_test_at_most() -> None:
    assert {page: tests for page, tests in OWNERS.items() if len(tests) > 1} == {}
    assert [page for page in OWNERS if not (DOCS / page).exists()] == []


def problems_of(blocks: list[Block]) -> list[str]:
    """Returns the blocks that nobody runs and nobody excuses, and those of an unknown language."""
    found: list[str] = []
    for block in blocks:
        owned = OWNERS.get(name_of(block.page), [])
        if block.language in OTHERS or DIRECTIVES.fullmatch(block.language):
            continue
        if block.language not in RUNNABLE:
            found.append(f"{block.place}: {block.language!r} is no language that a test knows")
        elif block.language == "python" and not owned:
            continue  # it is run here
        elif any(block.language in owner.languages for owner in owned):
            continue
        elif reason_of(block) is None:
            found.append(f"{block.place}: nobody runs this {block.language}")
    return found


def test_every_block_is_run_or_says_why_not() -> None:
    assert problems_of(BLOCKS) == []


def test_every_excuse_is_of_a_block_that_is_there() -> None:
    used = {
        key
        for block in BLOCKS
        for key in NOT_RUN
        if name_of(block.page) == key[0] and block.text.startswith(key[1])
    }
    assert used == NOT_RUN.keys()


def commands_in(text: str) -> list[list[str]]:
    """Returns the calls of `everlog` in a shell's text, as words, without where they lead."""
    calls: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        ends = [number for number, word in enumerate(words) if word in ("|", ">", "&", ";")]
        words = words[: ends[0]] if ends else words
        if words[:1] == ["everlog"]:
            calls.append(words[1:])
    return calls


CALLS = {
    f"{block.place} everlog {shlex.join(words)}": words
    for block in BLOCKS
    if block.language == "sh"
    for words in commands_in(block.text)
}


@pytest.mark.parametrize("call", CALLS)
def test_the_command_understands_what_the_documentation_calls_it_with(call: str) -> None:
    words = CALLS[call]
    assert words[0] in COMMANDS
    parser_of(words).parse_args(words)  # exits where it does not


@pytest.mark.parametrize(
    "block",
    [
        block
        for page in (*pages(), *sorted(ROOT.glob("*.md")))
        for block in blocks_of(page)
        if block.language in ("py", "json")
    ],
    ids=lambda block: block.place,
)
def test_what_is_shown_and_not_run_can_be_read(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
    else:
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compile(block.text, block.place, "exec", flags)


# --- tests of the test ---------------------------------------------------------------------------


def page_of(text: str, folder: Path) -> list[Block]:
    page = folder / "made-up.md"
    page.write_text(text, "utf-8")
    return [block._replace(page=DOCS / "made-up.md") for block in blocks_of(page)]


def test_blocks_are_found_with_what_stands_below_them(tmp_path: Path) -> None:
    blocks = page_of(
        "# Page\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\nAnd:\n\n"
        "- in a list\n\n  ```python\n  if 1:\n      print(2)\n  ```\n\nText.\n\n"
        "```text\nnot said\n```\n",
        tmp_path,
    )
    assert [(block.line, block.language, block.text, block.said) for block in blocks] == [
        (3, "python", "print(1)\n", "1\n"),
        (7, "text", "1\n", None),
        (15, "python", "if 1:\n    print(2)\n", None),
        (22, "text", "not said\n", None),
    ]


@pytest.mark.parametrize("language", ["sh", "console", "sql", "diff", "rust", ""])
def test_a_block_that_nobody_runs_is_told(language: str, tmp_path: Path) -> None:
    [problem] = problems_of(page_of(f"```{language}\nrm -rf /\n```\n", tmp_path))
    assert problem.startswith("made-up.md:1: ")


def test_a_program_that_fails_or_says_something_else_is_told(tmp_path: Path) -> None:
    failing, other = page_of("```python\n1 / 0\n```\n```python\nprint(2)\n```\n", tmp_path)
    done = run(failing, tmp_path)
    assert done.code == 1
    assert "ZeroDivisionError" in done.stderr
    assert run(other, tmp_path).stdout == "2\n"


def test_programs_of_one_folder_can_import_each_other(tmp_path: Path) -> None:
    first, second = page_of(
        "```python\n# users.py\nNAME = 'Jane'\n```\n\n"
        "```python\nimport users\nprint(users.NAME)\n```\n",
        tmp_path,
    )
    assert run(first, tmp_path).code == 0
    assert run(second, tmp_path).stdout == "Jane\n"
