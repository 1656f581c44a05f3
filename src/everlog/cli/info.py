"""`everlog info`: who a ledger is, and how far it has got."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from everlog.cli.opening import opened, waiting
from everlog.cli.parsing import add_command, add_url
from everlog.cli.showing import Shown, time

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "info",
        help="who a ledger is, and how far it has got",
        about="Says who a ledger is, how far it has got, and what its subscriptions are doing.",
        examples="  everlog info sqlite:///app.db\n"
        "  everlog info sqlite:///app.db --json | jq .position",
    )
    add_url(parser)
    parser.set_defaults(run=waiting(_run))


async def _run(options: argparse.Namespace) -> None:
    shown = Shown(options)
    async with opened(options) as store:
        info = await store.info()
        last = await store.read(backwards=True).first()
        statuses = await store.subscriptions.status()
        able = store.capabilities
        facts: dict[str, object] = {
            "ledger": info.ledger,
            "epoch": info.epoch,
            "node": info.node,
            "position": info.position,
            "last_recorded_at": None if last is None else time(last.recorded_at),
            "clock": info.clock,
            "clock_ahead_ms": info.clock_ahead_ms,
            "chain": info.chain,
            "token": info.token,
            "durable": able.durable,
            "shared": able.shared,
            "subscriptions": len(statuses),
            "parked": sum(status.parked for status in statuses),
        }
        shown.facts(facts)
