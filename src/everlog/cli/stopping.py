"""Stopping: what runs until it is told to end, on any system."""

from __future__ import annotations

import asyncio
import signal


def stopped_by(*numbers: signal.Signals) -> asyncio.Event:
    """Returns what is set when this process gets one of these signals, from now on."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(stopped.set)

    for number in numbers:
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:  # by the event loop of Windows
            signal.signal(number, stop)
    return stopped
