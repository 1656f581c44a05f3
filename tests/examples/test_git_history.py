"""`examples/git_history` against real repositories, and against what git itself says of them."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import everlog
from everlog import EventStore
from examples.git_history import history, importing, replay, tamper, tour
from examples.git_history.cli import main
from examples.git_history.events import EVENTS, CommitMade, author_relation, directory_relation
from examples.git_history.git import Git, GitProblem
from examples.git_history.history import Fact, outline, path_text
from examples.git_history.importing import (
    Held,
    Known,
    Sent,
    bring_in_late,
    one_to_hold_back,
    send,
)
from examples.git_history.look import history_of, told
from examples.git_history.paper import width_of
from examples.git_history.replay import Replayed, url_of
from examples.git_history.state import RepositoryState, fold_author, fold_repository
from tests.examples.git_repositories import BYTE_NAMES, ODD_NAMES, RandomHistory, Repository

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nobodys_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    # For second processes, wherever they start: the everlog that is under test.
    monkeypatch.setenv("PYTHONPATH", str(Path(everlog.__file__).parents[1]))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.at(tmp_path / "repository")


async def _told(repository: Repository, db: Path) -> tuple[Sent, RepositoryState]:
    git = Git.of(str(repository.path))
    async with EventStore.open(url_of(str(db)), events=EVENTS) as store:
        sent = await send(store, git, outline(git), await Known.of(store))
        state = await store.reduce(fold_repository)
        assert state is not None
        assert (await store.verify()).ok
        return sent, state


def tell(repository: Repository, db: Path) -> tuple[Sent, RepositoryState]:
    """Brings a repository's history into a log. Returns what was sent, and the fold of the log."""
    return asyncio.run(_told(repository, db))


def files_of(state: RepositoryState) -> dict[str, tuple[str, str]]:
    return {file.path: (file.mode, file.blob) for file in state.present}


def tree_of(repository: Repository) -> dict[str, tuple[str, str]]:
    return {path_text(path): about for path, about in repository.tree().items()}


def a_small_history(repository: Repository, commits: int = 4) -> None:
    for number in range(commits):
        repository.write("src/changing.txt", f"{number}\n" * (number + 1))
        repository.write(f"file {number}.txt", f"{number}\n")
        repository.commit(f"number {number}")


def grow(repository: Repository, past: RandomHistory, commits: int) -> None:
    repository.git(
        "fast-import", "--quiet", "--force", f"--import-marks-if-exists={repository.path}/../marks",
        f"--export-marks={repository.path}/../marks", given=b"".join(past.grow(commits)),
    )  # fmt: skip


# --- the fold is what git says ------------------------------------------------------------------


def test_odd_names_modes_links_and_modules_fold_to_what_git_lists(
    repository: Repository, tmp_path: Path
) -> None:
    names: list[str | bytes] = [*ODD_NAMES, *BYTE_NAMES]
    for name in names:
        repository.write(name, f"one\ntwo of {name!r}\n")
    repository.commit("odd names")
    repository.commit()  # nothing in it, not even a message
    repository.git("update-index", "--chmod=+x", "plain.txt")
    repository.git("commit", "--quiet", "--message=mode")
    repository.git("reset", "--quiet", "--hard")
    (repository.path / "link").symlink_to("plain.txt")
    repository.write("binary", b"\0\1\2")
    repository.write("empty", b"")
    repository.commit("other kinds")
    (repository.path / "link").unlink()
    repository.write("link", "a file now\n")
    os.rename(repository.path / ODD_NAMES[2], repository.path / "renamed\n.txt")
    (repository.path / ODD_NAMES[1]).unlink()
    repository.write("binary", "text now\n")
    repository.commit("type, rename, removal")
    module = f"160000,{repository.head()},module"
    repository.git("update-index", "--add", "--cacheinfo", module)
    repository.git("commit", "--quiet", "--message=a module")

    _, state = tell(repository, tmp_path / "log.db")

    assert files_of(state) == tree_of(repository)
    assert len(files_of(state)) == len(repository.tree())  # no two names became one


def test_branches_that_merge_in_any_way_fold_to_what_git_lists(
    repository: Repository, tmp_path: Path, rng: random.Random
) -> None:
    past = RandomHistory(rng)
    for round_ in range(3):  # it grows, and the log with it
        grow(repository, past, 60)
        sent, state = tell(repository, tmp_path / "log.db")
        assert files_of(state) == tree_of(repository)
        counts = {path_text(path): lines for path, lines in repository.line_counts().items()}
        assert {file.path: file.lines for file in state.present} == counts
        assert sent.commits == int(repository.git("rev-list", "--count", "HEAD"))
        assert (sent.new == sent.events) == (round_ == 0)


def test_a_merge_that_says_nothing_would_be_seen(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> Sequence[Any]:
        return []

    monkeypatch.setattr(history._Teller, "_settle", silent)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(AssertionError):
        test_branches_that_merge_in_any_way_fold_to_what_git_lists(
            repository, tmp_path, random.Random(1)
        )


def test_names_that_are_no_utf8_are_kept_as_well_as_text_can(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("a", "a\n")
    repository.commit()
    tree = repository.git("rev-parse", "HEAD^{tree}").strip()
    # `git commit` would mend it; old and foreign programs did not.
    raw = b"tree " + tree + b"\nauthor J\xfcrgen <J\xdf@x> 99999999999999 +0000\n"
    raw += b"committer C <c@x> 1700000000 +0000\n\ngr\xfc\xdfe \x1b[31m\n"
    parent = repository.git("hash-object", "-t", "commit", "-w", "--stdin", given=raw).strip()
    repository.git("reset", "--quiet", "--hard", parent.decode())
    repository.commit(os.fsdecode(b"gr\xfc\xdfe"), config=("i18n.commitEncoding=ISO-8859-1",))

    async def run() -> list[CommitMade]:
        await _told(repository, tmp_path / "log.db")
        async with EventStore.open(url_of(str(tmp_path / "log.db")), events=EVENTS) as store:
            return [record.data async for record in store.read(types=[CommitMade])]

    first, second = asyncio.run(run())
    assert (first.name, first.subject) == ("J\ufffdrgen", "gr\ufffd\ufffde \x1b[31m")
    assert first.author == "j\ufffd@x"
    assert second.subject == "grüße"


def test_a_name_is_spelt_as_git_spells_it(repository: Repository) -> None:
    for name in ODD_NAMES[:8]:
        repository.write(name, "x")
    repository.commit()
    listed = repository.git(
        "ls-tree", "-r", "--name-only", "HEAD", config=("core.quotePath=false",)
    )
    # Not splitlines(): that would split at other separators too.
    assert set(listed.decode().split("\n")[:-1]) == set(tree_of(repository))


def test_relations_name_the_files_of_directories_and_of_authors(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("src/core/a.txt", "a\n")
    repository.write("top.txt", "a\n")
    repository.commit("first")
    repository.write("src/b.txt", "b\nb\n")
    repository.commit("second", config=("user.email=Bob@Example.org", "user.name=Bob"))

    async def run() -> None:
        await _told(repository, tmp_path / "log.db")
        async with EventStore.open(url_of(str(tmp_path / "log.db")), events=EVENTS) as store:
            streams_of = store.relations.streams_of
            assert await streams_of(directory_relation("src")) == [
                "file:src/b.txt", "file:src/core/a.txt",
            ]  # fmt: skip
            assert await streams_of(directory_relation("src/core")) == ["file:src/core/a.txt"]
            assert await streams_of(directory_relation(".")) == ["file:top.txt"]
            bob = author_relation("bob@example.org")
            assert len(await streams_of(bob)) == 2  # a commit and a file
            folded = await store.reduce(fold_author, relation=bob, types=[CommitMade])
            assert folded is not None
            assert (folded.name, folded.commits, folded.added) == ("Bob", 1, 2)

    asyncio.run(run())


def test_a_files_history_goes_back_through_its_renames(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("old", "1\n2\n3\n4\n5\n")
    repository.commit("first")
    repository.git("mv", "old", "new")
    repository.commit("second")
    repository.write("old", "another\n")  # not of this history
    repository.write("new", "1\n2\n3\n4\n5\n6\n")
    repository.commit("third")

    async def run() -> list[str]:
        await _told(repository, tmp_path / "log.db")
        async with EventStore.open(url_of(str(tmp_path / "log.db")), events=EVENTS) as store:
            return [" ".join(told(record)) async for record in history_of(store, "new")]

    log = asyncio.run(run())
    assert log == ["changed +1 -0", "renamed from old", "added 5 lines"]


# --- once, however often ------------------------------------------------------------------------


def test_a_second_run_appends_nothing_and_a_third_only_what_is_new(
    repository: Repository, tmp_path: Path
) -> None:
    a_small_history(repository)
    first, _ = tell(repository, tmp_path / "log.db")
    assert first.new == first.events > 0
    again, _ = tell(repository, tmp_path / "log.db")
    assert (again.events, again.new) == (first.events, 0)
    repository.write("src/changing.txt", "changed again\n")
    repository.commit("one more")
    more, state = tell(repository, tmp_path / "log.db")
    assert (more.events, more.new) == (first.events + 2, 2)  # the commit and its file
    assert files_of(state) == tree_of(repository)


def test_ids_made_by_chance_would_be_seen(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_chance(*_: object) -> str:
        return str(uuid.uuid4())

    monkeypatch.setattr(history, "_id", by_chance)
    with pytest.raises(AssertionError):
        test_a_second_run_appends_nothing_and_a_third_only_what_is_new(repository, tmp_path)


def test_attributes_and_mail_maps_that_come_later_do_not_change_what_was(
    repository: Repository, tmp_path: Path
) -> None:
    a_small_history(repository)
    first, _ = tell(repository, tmp_path / "log.db")
    repository.write(".gitattributes", "* -diff\n")
    repository.write(".mailmap", "Somebody Else <else@x> <ada@example.org>\n")
    repository.commit("settings")
    more, _ = tell(repository, tmp_path / "log.db")
    assert more.events - more.new == first.events


def test_a_run_that_was_stopped_before_the_late_event_is_mended_by_the_next(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository)
    db = tmp_path / "log.db"

    async def stopped() -> None:
        git = Git.of(str(repository.path))
        history = outline(git)
        async with EventStore.open(url_of(str(db)), events=EVENTS) as store:
            known = await Known.of(store)
            held = one_to_hold_back(git, history, known)
            sent = await send(store, git, history, known, hold_back=held)
            assert sent.held is not None

    asyncio.run(stopped())
    assert main(["--db", str(db), str(repository.path)]) == 0
    assert "1 of them come late" in capsys.readouterr().out
    sent, state = tell(repository, db)
    assert sent.new == 0
    assert files_of(state) == tree_of(repository)


def test_a_commit_larger_than_a_batch_is_told_in_several(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_EVENTS", 3)
    for number in range(10):
        repository.write(f"{number}.txt", "x\n")
    repository.commit()
    a_small_history(repository)
    first, state = tell(repository, tmp_path / "log.db")
    assert files_of(state) == tree_of(repository)
    assert tell(repository, tmp_path / "log.db")[0].new == 0
    assert first.new == first.events


# --- the tour -----------------------------------------------------------------------------------


def test_the_tour_shows_what_it_promises(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository)
    db = tmp_path / "my logs #1?.db"
    assert main(["--db", str(db), str(repository.path)]) == 0
    out = capsys.readouterr().out
    assert "✗" not in out
    assert "\x1b" not in out  # no colours into a pipe
    here, there = re.findall(r"(?:here|there) +fold (\w+)  tables (\w+)", out)
    assert here == there
    assert "hydrated: yes, outdated: yes" in out
    assert "the fold has it: 3 → 4 changes" in out
    assert "effects ran 4 times here, and not once in the replay" in out
    assert re.search(r"✓  0 new\n", out)
    flipped = re.search(r"flipped in a copy, in position (\d+)", out)
    assert flipped is not None
    assert f"found at position {flipped[1]}\n" in out
    assert not list(tmp_path.glob("*tampered*"))
    report, _, _ = out.partition("Look further")
    assert max(map(width_of, report.splitlines()[6:])) <= 80
    # And again, with nothing to hold back.
    assert main(["--db", str(db), str(repository.path)]) == 0
    assert "12 events were in the log already, 0 are new" in capsys.readouterr().out


@pytest.mark.parametrize("commits", [1, 2])
def test_the_tour_needs_no_more_than_one_commit(
    repository: Repository, tmp_path: Path, commits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository, commits)
    assert main(["--db", str(tmp_path / "log.db"), str(repository.path)]) == 0
    assert "✗" not in capsys.readouterr().out


def test_the_tour_needs_no_files(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit()
    assert main(["--db", str(tmp_path / "log.db"), str(repository.path)]) == 0
    assert "nothing was held back" in capsys.readouterr().out


def test_bare_repositories_shallow_clones_and_sub_folders_are_read(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository)
    source = repository.path.as_uri()
    repository.git("clone", "--quiet", "--bare", source, str(tmp_path / "bare"))
    repository.git("clone", "--quiet", "--depth=2", source, str(tmp_path / "shallow"))
    repository.git("worktree", "add", "--quiet", str(tmp_path / "worktree"))
    for place in ("bare", "shallow", "worktree", "repository/src"):
        db = tmp_path / f"{place.replace('/', '-')}.db"
        assert main(["--db", str(db), str(tmp_path / place)]) == 0, place
        out = capsys.readouterr().out
        assert "the very files" in out
        assert ("a shallow clone" in out) == (place == "shallow")


def test_the_program_runs_as_a_folder_and_reads_where_it_stands(
    repository: Repository, tmp_path: Path
) -> None:
    a_small_history(repository)
    command = [sys.executable, str(ROOT / "examples" / "git_history")]
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=repository.path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok the same state in both" in done.stdout
    assert done.stderr == ""  # no progress bar where nobody looks
    [db] = tmp_path.glob("everlog-git-*/git_history.db")
    again = [*command, "--db", str(db), "--file", "src/changing.txt"]
    shown = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert len(shown.splitlines()) == 4


def test_a_late_event_that_is_ignored_would_be_seen(
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_small_history(repository)

    async def elsewhere(store: EventStore, missing: Sequence[Fact | Held]) -> int:
        moved = [Held(one.id, "file:elsewhere", one.event, ()) for one in missing]  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        return await bring_in_late(store, moved)

    monkeypatch.setattr(tour, "bring_in_late", elsewhere)
    monkeypatch.setattr(tour._Tour, "_send_again", _nothing)  # pyright: ignore[reportPrivateUsage]
    assert main(["--db", str(tmp_path / "log.db"), str(repository.path)]) == 1
    assert "✗  the fold has it: 3 → 3 changes" in capsys.readouterr().out


async def _nothing(_: object) -> None:
    pass


def test_a_replay_that_ends_elsewhere_would_be_seen(
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_small_history(repository)

    async def another(store: EventStore) -> Replayed:
        real = await replay.hydrate_elsewhere(store)
        return Replayed(real.records, "0" * 64, real.tables, real.effects, real.seconds)

    monkeypatch.setattr(tour, "hydrate_elsewhere", another)
    assert main(["--db", str(tmp_path / "log.db"), str(repository.path)]) == 1
    assert "✗  the same state" in capsys.readouterr().out


def test_a_flipped_bit_that_verification_missed_would_be_seen(
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_small_history(repository)

    def untouched(path: str, content: bytes) -> None:
        pass

    monkeypatch.setattr(tamper, "_write", untouched)
    assert main(["--db", str(tmp_path / "log.db"), str(repository.path)]) == 1
    assert "✗  found at position None" in capsys.readouterr().out


# --- strangers ----------------------------------------------------------------------------------


def test_nothing_that_a_repository_names_is_started(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository)
    repository.write(".gitattributes", "* diff=evil filter=evil\n")
    repository.commit()
    marker = tmp_path / "started"
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\ncat\n")
    program.chmod(0o755)
    for name in (
        "core.pager", "core.fsmonitor", "diff.external", "diff.evil.textconv", "diff.evil.command",
        "gpg.program", "pager.log", "filter.evil.clean", "core.sshCommand", "core.editor",
    ):  # fmt: skip
        repository.git("config", name, str(program))
    repository.git("config", "log.showSignature", "true")
    for hook in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (repository.path / ".git/hooks").mkdir(exist_ok=True)
        (repository.path / ".git/hooks" / hook).symlink_to(program)
    assert main(["--db", str(tmp_path / "log.db"), str(repository.path)]) == 0
    assert "✗" not in capsys.readouterr().out
    assert not marker.exists()


def test_settings_that_bend_git_log_do_not_bend_the_log(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_small_history(repository)
    repository.git("mv", "file 1.txt", "src/renamed.txt")
    repository.commit()
    first, _ = tell(repository, tmp_path / "log.db")
    (tmp_path / "order").write_text("src/*\n*\n")
    for name, value in {
        "diff.renames": "false", "diff.noPrefix": "true", "diff.relative": "true",
        "diff.orderFile": str(tmp_path / "order"), "diff.algorithm": "patience",
        "log.date": "relative", "log.showRoot": "false", "log.diffMerges": "off",
        "core.abbrev": "4", "i18n.logOutputEncoding": "ISO-8859-1", "color.ui": "always",
        "format.pretty": "oneline", "log.decorate": "full", "diff.ignoreSubmodules": "all",
    }.items():  # fmt: skip
        repository.git("config", name, value)
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_DIFF_OPTS", "--unified=9")
    again, _ = tell(repository, tmp_path / "log.db")
    assert (again.events, again.new) == (first.events, 0)


# --- what cannot be done ------------------------------------------------------------------------


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what the program says when it cannot do it: one line, on stderr."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("git_history: ")
    assert err.count("\n") == 1
    return err


def test_what_is_no_repository_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "not in a git repository" in refused([str(tmp_path)], capsys)
    assert "is not a folder" in refused([str(tmp_path / "missing")], capsys)
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    refused([str(tmp_path)], capsys)


def test_a_repository_without_commits_is_said_so(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "has no commits yet" in refused([str(repository.path)], capsys)


def test_a_machine_without_git_is_said_so(
    repository: Repository,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in refused([str(repository.path)], capsys)


def test_a_path_that_looks_like_an_option_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(Repository.at(tmp_path / "--upload-pack=x"), 1)
    monkeypatch.chdir(tmp_path)
    assert main(["--db", "log.db", "--", "--upload-pack=x"]) == 0
    assert "✗" not in capsys.readouterr().out


def test_a_log_of_another_history_is_left_alone(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository)
    db = tmp_path / "log.db"
    tell(repository, db)
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.write("file 2.txt", "another history\n")
    repository.commit("rewritten")
    assert main(["--db", str(db), str(repository.path)]) == 2
    assert "history was rewritten" in capsys.readouterr().err
    with pytest.raises(GitProblem):
        tell(repository, db)


def test_a_file_that_is_no_log_is_left_alone(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_history(repository, 1)
    foreign = tmp_path / "letter.txt"
    foreign.write_text("Dear diary, " * 500)
    assert main(["--db", str(foreign), str(repository.path)]) == 2
    assert main(["--db", str(foreign), "--replay"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert foreign.read_text().startswith("Dear diary, ")
    assert "is none" in refused(["--db", str(tmp_path / "missing.db"), "--replay"], capsys)
    assert "is none" in refused(["--replay"], capsys)
    hub = ["--hub", "http://127.0.0.1:1"]
    assert "is none" in refused(["--replay", *hub], capsys)
    assert "is none" in refused(["--db", str(foreign), "--replay", *hub], capsys)
    new = ["--db", str(tmp_path / "new.db")]
    assert "is none" in refused([*new, *hub], capsys)
    assert "cannot be reached" in refused([*new, "--replay", *hub], capsys)


def test_the_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert all(
        word in out for word in ("REPO", "--db", "--file", "--replay", "--hub", "exit codes")
    )
