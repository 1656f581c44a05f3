"""`everlog migrate`: brings a ledger's schema up to date, or prints what that takes."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from everlog.cli.parsing import URL_VARIABLE, add_output
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

_ABOUT = f"""\
Brings the schema of a ledger in PostgreSQL up to date, and creates it where there is none; all of
it or nothing, whoever else does so at the same time. Other kinds of ledger need no migrations.

A password on a command line can be seen by all users of a machine: put the URL into the environment
variable {URL_VARIABLE}, or the password into PGPASSWORD or ~/.pgpass."""

_EXAMPLES = f"""\
examples:
  {URL_VARIABLE}=postgresql://admin@db/app everlog migrate
  everlog migrate postgresql://admin@db/app --dry-run
  everlog migrate postgresql://admin@db/app --print --grant-to app > step.sql
  everlog migrate --print --all --schema audit | psql -v ON_ERROR_STOP=1 -d app"""


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = commands.add_parser(
        "migrate",
        help="bring a ledger's schema up to date",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", help=f"of the ledger; else that of {URL_VARIABLE}"
    )
    parser.add_argument(
        "--schema", metavar="NAME", help="the schema, if not that of the URL (default: everlog)"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--dry-run", action="store_true", help="say what is lacking, and change nothing"
    )
    action.add_argument(
        "--print",
        action="store_true",
        dest="printed",
        help="print what is lacking as SQL, and change nothing",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        dest="whole",
        help="with --print: from an empty database on, without asking a server",
    )
    parser.add_argument(
        "--grant-to",
        metavar="ROLE",
        help="with --print: add what this role needs to read and append, and no more",
    )
    add_output(parser)
    parser.set_defaults(run=partial(_run, refuse=parser.error))


def _run(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    from everlog import migrate, migration_script

    if not options.printed and (options.whole or options.grant_to is not None):
        refuse("--all and --grant-to go with --print")
    url: str = options.url or os.environ.get(URL_VARIABLE, "")
    if not url and options.whole:
        url = "postgresql://"  # of any server: it is not asked
    if not url:
        refuse(f"name a ledger: everlog migrate URL, or put its URL into {URL_VARIABLE}")
    more: dict[str, Any] = {} if options.schema is None else {"schema": options.schema}
    if options.printed and options.json:
        refuse("--print prints SQL; leave --json out")
    if options.printed:
        script = asyncio.run(
            migration_script(url, whole=options.whole, grant_to=options.grant_to, **more)
        )
        sys.stdout.write(script)
        if not script:
            print("everlog: nothing is lacking", file=sys.stderr)
        return
    steps = asyncio.run(migrate(url, dry_run=options.dry_run, **more))
    if options.json:
        Shown(options).table(
            ("number", "name", "applied"),
            [(step.number, step.name, not options.dry_run) for step in steps],
        )
        return
    for step in steps:
        print("would apply" if options.dry_run else "applied", f"{step.number:04} {step.name}")
    if not steps:
        print("nothing is lacking")
