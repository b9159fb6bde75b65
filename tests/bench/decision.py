"""A decision over the real socket of a real daemon, beside a bare echo.

1,000 live runs, 32 calls in flight. A sample lasts from writing `CallReady` to
reading its `Granted`; then `CallEnded` frees the seat and the next call goes
out. The echo gets frames of the same size from the same client code and sends
them back; what comes back is decoded alike. Once over one connection, as a
process with 32 threads has it, and once over 32.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from headway.core.types import CallId, EndpointId
from headway.wire.messages import (
    PROTOCOL_VERSION,
    FrameSplitter,
    Granted,
    Hello,
    Welcome,
    decode_daemon,
    encode_frame,
)
from tests.bench.facts import IN_FLIGHT, call, config, live_runs
from tests.bench.measure import Result, against
from tests.bench.servers import server
from tests.support.daemons import process

ROUNDS = 10
P50_GOAL, P99_GOAL = 10.0, 20.0
ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One call on the wire: what to send, and what when it was granted."""

    call: CallId
    ready: bytes
    ended: bytes


class Asker(asyncio.Protocol):
    """One client connection; tells `granted` of every answer."""

    def __init__(self, granted: Callable[["Asker", Granted], None]) -> None:
        self._granted = granted
        self._splitter = FrameSplitter()
        self.welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            message = decode_daemon(body)
            if isinstance(message, Granted):
                self._granted(self, message)
            elif isinstance(message, Welcome):
                self.welcome.set_result(message)


class Asking:
    """Keeps `IN_FLIGHT` calls in flight over `connections` connections to one peer."""

    def __init__(self, path: Path, *, connections: int) -> None:
        self._path = path
        self._connections = connections
        self._askers: list[Asker] = []
        self._asked: dict[CallId, tuple[Asked, float]] = {}
        self._left: Iterator[Asked] = iter(())
        self._times: list[float] = []
        self._done: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, asker = await loop.create_unix_connection(
                lambda: Asker(self._on_grant), str(self._path)
            )
            self._askers.append(asker)

    async def introduce(self) -> None:
        """Say hello on each connection, and tell of the live runs on the first."""
        for number, asker in enumerate(self._askers):
            hello = Hello(version=PROTOCOL_VERSION, client=f"bench-{number}")
            asker.transport.write(encode_frame(hello))
            await asyncio.wait_for(asker.welcome, ANSWER_WITHIN_S)
        self._askers[0].transport.write(b"".join(encode_frame(one) for one in live_runs()))

    async def round(self, calls: list[Asked]) -> list[float]:
        """The microseconds from question to answer of each call."""
        self._left, self._times = iter(calls), []
        self._done = asyncio.get_running_loop().create_future()
        for number in range(min(IN_FLIGHT, len(calls))):
            self._next(self._askers[number % len(self._askers)], b"")
        await asyncio.wait_for(self._done, ANSWER_WITHIN_S)
        return self._times

    def close(self) -> None:
        """Close the connections."""
        for asker in self._askers:
            asker.transport.close()

    def _next(self, asker: Asker, before: bytes) -> None:
        asked = next(self._left, None)
        if asked is not None:
            self._asked[asked.call] = (asked, time.perf_counter())
            asker.transport.write(before + asked.ready)
            return
        if before:
            asker.transport.write(before)
        if not self._asked and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _on_grant(self, asker: Asker, granted: Granted) -> None:
        now = time.perf_counter()
        asked, since = self._asked.pop(granted.call)
        self._times.append((now - since) * 1e6)
        if not granted.endpoint and self._done is not None and not self._done.done():
            self._done.set_exception(RuntimeError(f"not placed: {granted.why}"))
        self._next(asker, asked.ended)


def real_call(number: int) -> Asked:
    """A call for the daemon."""
    ready, ended = call(number)
    return Asked(ready.call, encode_frame(ready), encode_frame(ended))


def echo_call(number: int) -> Asked:
    """An answer of the size of the question, so that what the echo returns can be decoded."""
    ready, _ = call(number)
    size = len(encode_frame(ready))
    answer = Granted(
        call=ready.call,
        attempt=1,
        endpoint=EndpointId("small-1"),
        model="small",
        urgency=0.0,
        held_s=0.0,
        why="x" * 40,
    )
    missing = size - len(encode_frame(answer))
    frame = encode_frame(
        Granted(
            call=ready.call,
            attempt=1,
            endpoint=EndpointId("small-1"),
            model="small",
            urgency=0.0,
            held_s=0.0,
            why="x" * (40 + missing),
        )
    )
    return Asked(ready.call, frame, b"")


async def _rounds(
    daemon: Path, echo: Path, *, connections: int, samples: int, step: Callable[[], None]
) -> tuple[list[list[float]], list[list[float]]]:
    """Rounds of the daemon and of the echo, in turns; the first of each is thrown away."""
    with_daemon = Asking(daemon, connections=connections)
    bare = Asking(echo, connections=connections)
    await with_daemon.connect()
    await bare.connect()
    await with_daemon.introduce()
    numbers = count(connections * 10_000_000)
    each = max(samples // ROUNDS, IN_FLIGHT)
    decided, echoed = [], []
    for number in range(ROUNDS + 1):
        calls = [next(numbers) for _ in range(each)]
        first = await with_daemon.round([real_call(one) for one in calls])
        second = await bare.round([echo_call(one) for one in calls])
        if number:
            decided.append(first)
            echoed.append(second)
            step()
    with_daemon.close()
    bare.close()
    return decided, echoed


def measure(*, samples: int, step: Callable[[], None]) -> list[Result]:
    """`decision_p50` and `decision_p99` in microseconds, and the echo's own P50."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            server("model") as url,
            server("echo", str(folder / "echo.sock")) as echo,
            process(folder, config=config(seats=64, urls=(url,))),
        ):
            socket = folder / "run" / "headway.sock"
            for connections, suffix in ((1, ""), (IN_FLIGHT, "_of_32_clients")):
                decided, echoed = asyncio.run(
                    _rounds(socket, Path(echo), connections=connections, samples=samples, step=step)
                )
                for percent, goal in ((50, P50_GOAL), (99, P99_GOAL)):
                    results.append(
                        against(
                            f"decision_p{percent}{suffix}",
                            decided,
                            echoed,
                            percent=percent,
                            unit="us",
                            ratio_to=f"echo_p{percent}{suffix}",
                            goal=goal,
                        )
                    )
    return results
