"""``headway top``: a daemon's queue, endpoints, open runs and predictions, again and again."""

import signal
import time
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live

from headway.cli.ask import Connection, Where
from headway.cli.options import SocketOption, TcpOption, TokenOption, where
from headway.cli.tell import wide_console
from headway.cli.topview import alone, frame
from headway.core.errors import DaemonUnreachable, HeadwayError
from headway.wire.messages import Query, Reply

PATIENCE_S = 3.0
"""A daemon that does not answer for so long counts as away; the next frame tries again."""
SHORTEST_S = 0.1
LONGEST_S = 86_400.0

IntervalOption = Annotated[
    float,
    typer.Option("--interval", "-n", min=SHORTEST_S, max=LONGEST_S, help="Seconds between frames."),
]
OnceOption = Annotated[bool, typer.Option("--once", help="Print one frame and end.")]


def top(
    interval: IntervalOption = 1.0,
    once: OnceOption = False,
    socket: SocketOption = None,
    tcp: TcpOption = None,
    token_file: TokenOption = None,
) -> None:
    """Watch the endpoints, the queue, the open runs, and how predictions turn out."""
    watched = Watched(where(socket, tcp, token_file))
    console = wide_console()
    if once:
        console.print(frame(watched.ask(), console))
        return
    signal.signal(signal.SIGTERM, _interrupt)  # so that the terminal is left as it was
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            _on_screen(watched, console, interval)
        else:
            _line_by_line(watched, console, interval)
    except KeyboardInterrupt:
        return
    finally:
        watched.close()


class Watched:
    """A daemon that is asked again and again, over one connection for as long as it lasts."""

    def __init__(self, daemon: Where) -> None:
        self._where = daemon
        self._connection: Connection | None = None
        self._asked = 0
        self._latest: dict[str, Any] | None = None

    def ask(self) -> dict[str, Any]:
        """What the daemon says now. Raises `DaemonUnreachable`, or `HeadwayError` for a no."""
        self._asked += 1
        try:
            if self._connection is None:
                self._connection = Connection(self._where, timeout_s=PATIENCE_S)
            self._connection.send(Query(id=self._asked, what="top"))
            while True:
                message = self._connection.receive()
                if isinstance(message, Reply) and message.id == self._asked:
                    break
        except HeadwayError:
            self.close()
            raise
        if message.error:
            raise HeadwayError(message.error)
        self._latest = message.body
        return message.body

    def frame(self, console: Console) -> Group:
        """The picture now. Raises `HeadwayError` if a daemon is there and has never answered.

        While the daemon is away, its last answer is shown, and said to be old.
        """
        try:
            return frame(self.ask(), console)
        except DaemonUnreachable as error:
            why = str(error)
        except HeadwayError as error:
            if self._latest is None:
                raise
            why = str(error)
        if self._latest is None:
            return alone(why)
        return frame(self._latest, console, note=f"no daemon, the last picture: {why}")

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _on_screen(watched: Watched, console: Console, interval: float) -> None:
    """One picture that changes in place, in the terminal's other screen."""
    first = watched.frame(console)  # what the daemon refuses is said before the screen changes
    live = Live(first, console=console, screen=True, auto_refresh=False)
    try:  # not `with`: a Ctrl-C at the first picture comes while it is entered
        live.start(refresh=True)
        while True:
            live.update(watched.frame(console), refresh=True)
            time.sleep(interval)
    finally:
        live.stop()


def _line_by_line(watched: Watched, console: Console, interval: float) -> None:
    """Frames one below the other, for a pipe or a file."""
    while True:
        console.print(watched.frame(console))
        console.print()
        console.file.flush()
        time.sleep(interval)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
