"""`everlog doctor`: what is wrong, in words, and what to do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from everlog import Finding
from everlog.cli.exits import FOUND
from everlog.cli.opening import NO_LEDGER, opened, waiting
from everlog.cli.parsing import add_command, add_url
from everlog.cli.progress import progress
from everlog.cli.showing import Shown, harmless

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

_ADVICE = "see that the URL is that of the ledger; if it is, keep a copy, and restore a backup"
_COLORS = {"trouble": "red", "warning": "yellow", "note": "blue"}


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "doctor",
        help="what is wrong with a ledger, and what to do",
        about="Says in words what is wrong with a ledger, the place where it is, its\n"
        "subscriptions and its clock, and what to do about it. Changes nothing. Ends with 3 if\n"
        "there is trouble or a warning, also if what is there is no ledger.",
        examples="  everlog doctor sqlite:///app.db\n  everlog doctor sqlite:///app.db --verify",
    )
    add_url(parser)
    parser.add_argument(
        "--verify", action="store_true", help="look for damage, too, which takes longer"
    )
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> int:
    shown = Shown(options)
    try:
        async with opened(options) as store, progress("looking"):
            findings = await store.diagnose(verify=options.verify)
    except NO_LEDGER as error:
        findings = [Finding("trouble", "no-ledger", str(error), _ADVICE)]
    if shown.terminal and not shown.json:
        for finding in findings:
            _show(shown, finding)
        if not findings:
            shown.line(shown.color("green", "nothing is wrong"))
    else:
        columns = ("severity", "code", "what", "advice")
        rows = [[getattr(each, name) for name in columns] for each in findings]
        shown.table(columns, rows)
    return FOUND if any(each.severity != "note" for each in findings) else 0


def _show(shown: Shown, finding: Finding) -> None:
    severity = shown.color(_COLORS[finding.severity], finding.severity.ljust(7))
    shown.line(f"{severity}  {shown.color('bold', finding.code)}: {harmless(finding.what)}")
    shown.line(f"         {shown.color('dim', harmless(finding.advice))}")
