"""Ends a program on SIGTERM as on Ctrl-C: by cancelling it, so that what it started is stopped.

Without this SIGTERM would end the process at once, and the emulator and the
daemon, which are in sessions of their own, would live on.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A signal ended the program, and all its blocks were left in order."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number
        """The exit status that a shell would show of a program that the signal killed."""


def run_stoppable(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` like ``asyncio.run``. Raises `Stopped` if a signal cancelled it.

    Each further signal cancels again: whoever waits for a stubborn child then
    waits no longer, and kills it.
    """
    return asyncio.run(_stoppable(main))


async def _stoppable(main: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    seen: list[int] = []

    def stop(number: int) -> None:
        seen.append(number)
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if seen:
            raise Stopped(seen[0]) from None
        raise
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
