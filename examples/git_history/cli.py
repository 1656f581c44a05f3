"""The command line: arguments in, exit code out, and one line for whatever goes wrong."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from everlog import CannotOpen, EventStore, EverlogError
from examples.git_history.events import EVENTS
from examples.git_history.git import Git, GitProblem
from examples.git_history.history import outline
from examples.git_history.look import history_of, told
from examples.git_history.paper import Paper, plain
from examples.git_history.replay import as_json, hydrate, replay, url_of
from examples.git_history.tour import tour

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
Reads the history of a git repository into an event log, and shows what the log
can do: folds, a read model, the state as of an earlier moment, a late event, a
second service that fills a log of its own over HTTP, a re-run that adds
nothing, and a flipped bit that is found."""
EPILOG = """\
exit codes: 0 all was as it should be, 1 a check failed, 2 it could not be done
A path that begins with a dash goes after `--`. NO_COLOR=1 turns colours off."""


def main(arguments: Sequence[str]) -> int:
    """Runs the program and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except (GitProblem, EverlogError) as error:
        print(f"git_history: {plain(str(error))}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(
            "\ngit_history: interrupted; run it again with the same --db to go on", file=sys.stderr
        )
        return INTERRUPTED
    except BrokenPipeError:  # somebody looked at the first lines only
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="git_history",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "repo", nargs="?", default=".", metavar="REPO", help="the repository; default: this one"
    )
    parser.add_argument(
        "--db",
        metavar="PATH",
        help="the log's file, kept and continued; default: a new one in a temporary folder",
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--file", metavar="NAME", help="only print a file's history from the log in --db"
    )
    only.add_argument(
        "--replay",
        action="store_true",
        help="only fold the log in --db anew and print digests, as JSON",
    )
    parser.add_argument(
        "--hub", metavar="URL", help="with --replay: fill a new log in --db from a hub, and fold it"
    )
    return parser


async def _run(options: argparse.Namespace) -> int:
    db: str | None = options.db
    if options.hub is not None:
        if db is None or not options.replay or _is_file(db):
            raise CannotOpen(f"--hub goes with --replay and a new log in --db; {db!r} is none")
        print(as_json(await hydrate(options.hub, db)))
        return OK
    if options.replay or options.file is not None:
        if db is None or not _is_file(db):
            raise CannotOpen(f"name a log that is there with --db; {db!r} is none")
        if options.replay:
            print(as_json(await replay(db)))
            return OK
        return await _print_history(db, options.file)
    git = Git.of(options.repo)
    history = outline(git)
    if db is None:
        db = str(Path(tempfile.mkdtemp(prefix="everlog-git-")) / "git_history.db")
    return FAILED if await tour(git, history, db, Paper(sys.stdout)) else OK


async def _print_history(db: str, path: str) -> int:
    paper, count = Paper(sys.stdout), 0
    async with EventStore.open(url_of(db), events=EVENTS) as store:
        async for record in history_of(store, path):
            count += 1
            what, more = told(record)
            happened = record.data
            about = f"{happened.at:%Y-%m-%d}  {happened.commit[:10]}  {what:<8} {more}"
            paper.line(plain(f"{about}  {happened.author}"))
    if not count:
        raise GitProblem(f"the log has no file {path!r}; names are spelt as git shows them")
    return OK


def _is_file(path: str) -> bool:
    return Path(path).is_file()
