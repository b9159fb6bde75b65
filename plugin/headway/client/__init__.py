"""The client side: asks the daemon for decisions, tells it what happens, and fails open."""

import atexit
import os
import threading

from headway.client.client import Client
from headway.client.clocks import Clocks
from headway.client.living import reset_living_clients
from headway.client.route import Route
from headway.client.scheduling import Scheduling

__all__ = ["Client", "Clocks", "Route", "Scheduling", "get_client"]


class _Process:
    """The one client of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: Client | None = None

    def get(self) -> Client:
        client = self.client
        if client is None:
            with self.lock:
                client = self.client
                if client is None:
                    client = self.client = Client()
        return client

    def forked(self) -> None:
        self.lock = threading.Lock()
        self.client = None
        reset_living_clients()

    def close(self) -> None:
        if self.client is not None:
            self.client.close()


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forked)
atexit.register(_process.close)


def get_client() -> Client:
    """The client of this process, made when first asked for; a forked child gets its own."""
    return _process.get()
