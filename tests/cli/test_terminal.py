"""Sessions on a terminal: tables, colours, bars and Ctrl-C."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.cli import progress as progress_module
from everlog.cli.progress import progress
from everlog.cli.showing import cell, fitted, harmless, wide
from tests.cli import logs
from tests.cli.pseudo_terminal import Terminal, in_words, on_terminal

URL = "sqlite:///app.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    asyncio.run(logs.make(folder / "app.db"))
    return folder


def test_a_stream_is_a_table_in_colours(folder: Path) -> None:
    assert on_terminal("show", URL, "user-1", cwd=folder) == (
        "<bold>position  created at                stream  version  type            data</>\n"
        "<dim>       1</>  <dim>2025-01-01T00:00:00.000Z</>  <cyan>user-1</>        1  "
        '<green>user:created  </>  {"email":"jane@doe.com"}\n'
        "<dim>       2</>  <dim>2025-01-01T00:00:01.000Z</>  <cyan>user-1</>        2  "
        '<green>user:email-set</>  "jane@acme.com"\n'
    )


def test_a_table_is_cut_to_the_width_of_the_terminal(folder: Path) -> None:
    said = on_terminal("show", URL, "user-1", "--color", "never", cwd=folder, columns=70)
    assert max(map(len, said.splitlines())) <= 70
    assert "…" in said


def test_the_last_records_are_lines_that_cannot_move_the_cursor(folder: Path) -> None:
    said = on_terminal("tail", URL, "-n", "1", cwd=folder, columns=120)
    assert said == (
        "<dim>       3</>  <dim>2025-01-01T00:00:02.000Z</>  <cyan>user-2              </>        1"
        "  <green>user:email-set          </>  "
        '"an \\u001b[2J escape, \\u20…\n'
    )


def test_no_color_and_dumb_terminals_have_no_colours(folder: Path) -> None:
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with Terminal("streams", URL, cwd=folder, variables={name: value}) as terminal:
            said, code = terminal.end()
        assert (code, "\x1b" in said) == (0, False)
    assert "<cyan>" in on_terminal(
        "streams", URL, "--color", "always", cwd=folder, variables={"NO_COLOR": "1"}
    )


def test_a_record_is_shown_line_by_line(folder: Path) -> None:
    said = on_terminal("show", URL, "1", cwd=folder)
    assert said.startswith("<dim>position   </>  1\n<dim>stream     </>  user-1\n")
    assert said.endswith(
        '<dim>data</>\n  {\n    "email": "jane@doe.com"\n  }\n'
        '<dim>meta</>\n  {\n    "who": "me"\n  }\n'
    )


def test_what_is_empty_is_said(folder: Path) -> None:
    said = on_terminal("subscriptions", "status", URL, cwd=folder)
    assert said == "<dim>there are no subscriptions</>\n"
    said = on_terminal("streams", URL, "--prefix", "none", cwd=folder)
    assert said == "<dim>there are no streams</>\n"


def test_verify_is_green_and_json_is_the_same_on_a_terminal(folder: Path) -> None:
    said = on_terminal("verify", URL, cwd=folder)
    assert said.startswith("<green>ok</>: 3 records, chain ")
    said = on_terminal("streams", URL, "--json", cwd=folder)
    assert said.startswith('{"stream":"user-1","version":2,')
    assert "<" not in said


def test_the_doctor_is_read_by_people(folder: Path) -> None:
    copy = folder / "relaxed.db"
    asyncio.run(logs.make(copy))
    with Terminal("doctor", f"sqlite:///{copy}?durability=relaxed", cwd=folder) as terminal:
        said, code = terminal.end()
    assert code == 3
    assert in_words(said).startswith(
        "<yellow>warning</>  <bold>durability</>: the store is opened with durability=relaxed"
    )


# --- following ---


def test_tail_goes_on_with_what_comes_until_ctrl_c(folder: Path) -> None:
    path = folder / "followed.db"
    asyncio.run(logs.make(path))

    async def append() -> None:
        async with EventStore.open(path, events=logs.EVENTS) as store:
            await store.append("user-7", logs.EmailSet("new@doe.com"))

    words = ("tail", f"sqlite:///{path}", "-f", "--color", "never")
    with Terminal(*words, cwd=folder, columns=200) as terminal:
        terminal.read_until(lambda said: said.count("\n") == 3)
        asyncio.run(append())
        terminal.read_until(lambda said: "new@doe.com" in said)
        terminal.press(b"\x03")
        said, code = terminal.end()
    assert code == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1].endswith("everlog: interrupted")


# --- bars ---


class Screen(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_for_what_takes_long_and_taken_away_in_the_end() -> None:
    screen = Screen()

    async def main() -> None:
        async with progress("verifying", out=screen, patience_s=0.0) as tell:
            tell(250, 1000)
            async with asyncio.timeout(60):
                while "25%" not in screen.getvalue():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    said = screen.getvalue()
    assert "verifying  ██████                     25%  250 of 1,000" in said
    assert said.endswith("\r\x1b[2K")


def test_a_bar_without_an_end_says_how_much_is_done() -> None:
    screen = Screen()

    async def main() -> None:
        async with progress("importing", unit=" bytes", out=screen, patience_s=0.0) as tell:
            tell(5000, 0)
            async with asyncio.timeout(60):
                while "5,000 bytes" not in screen.getvalue():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_what_is_done_within_a_second_and_what_goes_to_a_file_has_no_bar() -> None:
    assert progress_module.PATIENCE_S == 1.0
    quick, file = Screen(), io.StringIO()

    async def main() -> None:
        async with progress("verifying", out=quick) as tell:
            tell(1, 2)
        async with progress("verifying", out=file, patience_s=0.0) as tell:
            tell(1, 2)
            await asyncio.sleep(0.05)

    asyncio.run(main())
    assert (quick.getvalue(), file.getvalue()) == ("", "")


def test_a_bar_goes_away_also_where_the_work_fails() -> None:
    screen = Screen()

    async def main() -> None:
        async with progress("verifying", out=screen, patience_s=0.0):
            async with asyncio.timeout(60):
                while not screen.getvalue():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert screen.getvalue().endswith("\r\x1b[2K")


# --- cells ---


def test_text_is_measured_in_columns() -> None:
    assert [wide(text) for text in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]
    assert fitted("漢字漢字", 5) == "漢字…"
    assert fitted("漢字漢字", 4) == "漢… "
    assert fitted("ab", 4) == "ab  "
    assert fitted("7", 3, right=True) == "  7"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\n", "\t", "\x7f", "\x9b", "\u202e"])
def test_what_could_do_something_to_a_terminal_is_written_out(character: str) -> None:
    assert harmless(f"a{character}b") == f"a\\u{ord(character):04x}b"
    assert character not in cell({"a": character})


def test_values_are_plain_words() -> None:
    values: list[object] = [None, True, False, 1, 1.25, [], ["a", 1], {"a": "é"}]
    said = ["-", "yes", "no", "1", "1.2", "-", "a, 1", '{"a":"é"}']
    assert [cell(value) for value in values] == said
