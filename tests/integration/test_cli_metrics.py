"""`headway metrics` against a real daemon: printed once, and served to a scraper."""

import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from headway.cli.ask import Connection, Where
from headway.cli.metrics import gauges_of
from headway.core.facts import CallEnded, NodeStarted, RunStarted
from headway.wire.messages import Granted
from tests.support import bare
from tests.support.daemons import CONFIG, HEADWAY, call, headway, process

Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """Values by the gauge's name and its labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one_call(folder: Path) -> None:
    ask = call(1, models=("small",))
    with Connection(Where(socket=folder / "run" / "headway.sock")) as client:
        client.send(RunStarted(run=ask.run, graph="g"))
        client.send(NodeStarted(run=ask.run, node=ask.node, name="write"))
        client.send(ask)
        while not isinstance(client.receive(), Granted):
            continue
        client.send(CallEnded(call=ask.call, attempt=1, run=ask.run, output_tokens=50))


def test_gauges_are_printed_and_served(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "headway.sock"
    with bare.served(CONFIG) as config, process(tmp_path, config=config):
        one_call(tmp_path)
        printed = headway("metrics", "--socket", socket)
        assert printed.returncode == 0, printed.stderr
        found = samples(printed.stdout)
        assert found[("headway_up",)] == 1 and found[("headway_queue_calls",)] == 0
        assert found[("headway_endpoint_up", "a")] == 1
        assert found[("headway_forecast_trusted", "output_tokens")] == 1
        serving = subprocess.Popen(
            [*HEADWAY, "metrics", "--listen", "127.0.0.1:0", "--socket", str(socket)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert serving.stdout is not None
            address = serving.stdout.readline().strip()
            with urlopen(address, timeout=10) as response:
                assert set(samples(response.read().decode())) == set(found)
        finally:
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(timeout=10) == 0


def test_without_a_daemon_only_that_is_told(tmp_path: Path) -> None:
    printed = headway("metrics", "--socket", tmp_path / "none.sock")
    assert printed.returncode == 0
    assert samples(printed.stdout) == {("headway_up",): 0.0}


def test_addresses_that_cannot_be_are_named(tmp_path: Path) -> None:
    for listen in ("nowhere", "127.0.0.1:99999"):
        refused = headway("metrics", "--listen", listen, "--socket", tmp_path / "none.sock")
        assert refused.returncode == 2 and listen in refused.stderr


def test_what_a_daemon_of_another_version_says_is_left_out() -> None:
    odd = {"queue_total": "many", "endpoints": [{"id": "a", "up": None}, "b"], "forecasts": 3}
    assert list(gauges_of(odd)) == []
