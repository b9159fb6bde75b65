"""``headway metrics``: a daemon's gauges as Prometheus reads them, printed once or served."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headway.cli.options import SocketOption, TcpOption, TokenOption, where
from headway.cli.top import Watched
from headway.core.errors import ConfigError, HeadwayError
from headway.daemon.sockets import split_address

Body = dict[str, Any]

ListenOption = Annotated[
    str | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Serve them there, until Ctrl-C."),
]

ENDPOINT_GAUGES = {
    "up": "1 if the endpoint can be given calls.",
    "running": "Calls that were released to the endpoint and have not ended.",
    "foreign": "Requests of others that run there.",
    "predicted_tokens": "Output tokens still expected of its calls.",
    "congestion_s": "Seconds by which its load delays a call.",
    "kv_reserved": "KV tokens reserved by its calls.",
    "speed": "Time that its calls take over what its profile foresees (2: half as fast).",
    "served": "Calls that it has answered.",
}
FORECAST_GAUGES = {
    "judged": "Outcomes that were held against their forecast.",
    "order": "Share of calls of different runs put in the right order, of late (a coin: 0.5).",
    "coverage": "Share of outcomes below their forecast P90, of late (0.9 is right).",
    "trusted": "1 if the predictor is used, 0 while a plain one stands in.",
    "error": "Expected calibration error of the chances, of late.",
}


def metrics(
    listen: ListenOption = None,
    socket: SocketOption = None,
    tcp: TcpOption = None,
    token_file: TokenOption = None,
) -> None:
    """Print the daemon's gauges in Prometheus' text format, or serve them at /metrics.

    While the daemon is away only `headway_up` is told, as 0.
    """
    watched = Watched(where(socket, tcp, token_file))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(watched))
    try:
        if listen is None:
            typer.echo(generate_latest(registry).decode(), nl=False)
        else:
            _serve(registry, listen)
    finally:
        watched.close()


class Gauges(Collector):
    """Asks the daemon at each scrape."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._lock = threading.Lock()  # scrapes come on threads of their own

    def describe(self) -> Iterable[Metric]:
        """Nothing before the first scrape: the daemon may be away."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All gauges as of now."""
        try:
            with self._lock:
                body: Body | None = self._watched.ask()
        except HeadwayError:
            body = None
        yield _one("headway_up", "1 if a daemon answers.", float(body is not None))
        if body is not None:
            yield from gauges_of(body)


def gauges_of(body: Body) -> Iterator[Metric]:
    """The gauges of an answer to ``top``; what it does not tell is left out."""
    for name, about, key in (
        ("headway_queue_calls", "Calls that wait for a release.", "queue_total"),
        ("headway_running_calls", "Calls that were released and have not ended.", "running"),
        ("headway_open_runs", "Runs that have not ended.", "runs_total"),
    ):
        if (value := _number(body.get(key))) is not None:
            yield _one(name, about, value)
    yield from _by(body.get("endpoints"), "endpoint", "id", ENDPOINT_GAUGES)
    yield from _by(body.get("forecasts"), "forecast", "predictor", FORECAST_GAUGES)


def _by(rows: object, prefix: str, label: str, gauges: dict[str, str]) -> Iterator[Metric]:
    told = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    for key, about in gauges.items():
        family = GaugeMetricFamily(f"headway_{prefix}_{key}", about, labels=[prefix])
        for row in told:
            if (value := _number(row.get(key))) is not None:
                family.add_metric([str(row.get(label, ""))], value)
        if family.samples:
            yield family


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _one(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _serve(registry: CollectorRegistry, listen: str) -> None:
    host, port = split_address(listen)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConfigError(f"--listen {listen}: {error.strerror or error}") from None
    typer.echo(f"http://{host}:{server.server_port}/metrics")
    ended.wait()
    server.shutdown()
    thread.join()
