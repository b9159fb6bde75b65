"""An endpoint that is there, and that is all: what a daemon's look at it calls up."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.daemons import CONFIG


class Bare(BaseHTTPRequestHandler):
    """Answers 404 to everything."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(config: str = CONFIG) -> Iterator[str]:
    """`config` with endpoints that are up."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Bare) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield config.replace("127.0.0.1:9/", f"127.0.0.1:{server.server_port}/")
        server.shutdown()
