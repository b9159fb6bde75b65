"""`headway train` as a command, and a daemon that starts with what it wrote."""

import gzip
import json
from pathlib import Path

from headway.cli.ask import Where, ask
from headway.sim.families import generate
from headway.sim.tracefile import write_trace
from tests.support import bare
from tests.support.daemons import headway, process

PROFILE = "profile: {step_s: 0.02, prefill_s: 0.0001, seats: 8}"
CONFIG = f"""\
endpoints:
  - {{id: a, url: "http://127.0.0.1:9/v1", model: small, {PROFILE}}}
  - {{id: b, url: "http://127.0.0.1:9/v1", model: large, {PROFILE}}}
models:
  agent: [small, large]
"""


def test_traces_and_labels_become_a_start(tmp_path: Path) -> None:
    config, out = tmp_path / "pool.yaml", tmp_path / "learned"
    config.write_text(CONFIG)
    trace, labels = tmp_path / "runs.jsonl.gz", tmp_path / "labels.jsonl"
    write_trace(trace, generate("chain", runs=30, seed=1))
    label = {"graph": "chain", "node": "plan", "model": "small", "ok": True}
    labels.write_text(json.dumps(label) + "\n")
    made = headway(
        *("train", out, "--config", config, "--trace", trace, "--labels", labels),
    )
    assert made.returncode == 0, made.stderr
    assert "30 runs of 1 traces, 1 labels" in made.stdout
    with bare.served(CONFIG) as served, process(tmp_path, "--learned", str(out), config=served):
        socket = tmp_path / "run" / "headway.sock"
        assert ask(Where(socket=socket), "status")["graphs"] == ["chain"]
        assert "what `--learned` names is taken" in (tmp_path / "daemon.log").read_text()
    with bare.served(CONFIG) as served, process(tmp_path, "--learned", str(out), config=served):
        assert "not taken: the daemon has learned" in (tmp_path / "daemon.log").read_text()


def test_nothing_to_learn_from_and_a_cut_trace(tmp_path: Path) -> None:
    config = tmp_path / "pool.yaml"
    config.write_text(CONFIG)
    nothing = headway("train", tmp_path / "out")
    assert nothing.returncode == 2 and "--journal" in nothing.stderr
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b"{}")[:10])
    wrong = headway("train", tmp_path / "out", "--config", config, "--trace", cut)
    assert wrong.returncode == 2 and "cut.jsonl.gz" in wrong.stderr
