"""The clients of this process, which a forked child must reset before it uses one."""

from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What holds sockets, threads and locks that are no good in a forked child."""

    def reset_after_fork(self) -> None:
        """Begin anew, without what is the parent's."""


living: "WeakSet[Forked]" = WeakSet()


def reset_living_clients() -> None:
    """In a forked child: reset each client that the parent made."""
    for client in list(living):
        client.reset_after_fork()
