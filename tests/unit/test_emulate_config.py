"""Reading the pool file: what is served, and mistakes that name their remedy."""

import pytest
import yaml

from headway.core.errors import ConfigError
from headway.emulate import FillerAnswers, load_config, parse_config
from headway.emulate.answers import load_answers
from headway.engine import PRESETS, preset

POOL = """
endpoints:
  - {id: small, url: "http://127.0.0.1:8101/v1", model: qwen-7b, engine: emulated}
  - {id: large, url: "http://127.0.0.1:8102/v1", model: qwen-72b, engine: emulated}
  - {id: cloud, url: "https://api.example.com/v1", model: other, engine: openai}
models: {agent: [qwen-7b, qwen-72b]}
emulate:
  speedup: 10
  endpoints:
    small: {preset: qwen2.5-7b@a100, seats: 8, skill: 0.4}
    large: {step_s: 0.05, skill: 0.8}
"""


def changed(edit) -> dict:
    document = yaml.safe_load(POOL)
    edit(document)
    return document


def test_only_emulated_endpoints_are_served(tmp_path):
    path = tmp_path / "headway.yaml"
    path.write_text(POOL)
    config = load_config(path)
    small, large = config.endpoints
    assert (config.speedup, small.id, large.id) == (10.0, "small", "large")
    assert (small.host, small.port, small.path) == ("127.0.0.1", 8101, "/v1")
    assert small.profile.step_s == PRESETS["qwen2.5-7b@a100"].step_s
    assert (small.profile.seats, small.skill) == (8, 0.4)
    assert large.profile.step_s == 0.05
    assert load_config(path, speedup=3).speedup == 3


def test_any_model_on_any_accelerator_and_what_was_measured():
    def edit(document):
        small = document["emulate"]["endpoints"]["small"]
        small.update(preset="llama-3.1-8b@h100x2", wake_s=20, batch_points=[[1, 0.01], [8, 0.02]])

    profile = parse_config(changed(edit)).endpoints[0].profile
    assert profile.prefill_s == preset("llama-3.1-8b@h100x2").prefill_s
    assert (profile.wake_s, profile.batch_points) == (20.0, ((1, 0.01), (8, 0.02)))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["emulate"].update(speedupp=2), "'speedupp'; did you mean `speedup`"),
        (lambda d: d["emulate"]["endpoints"]["small"].update(seat=2), "did you mean `seats`"),
        (lambda d: d["emulate"]["endpoints"].update(smal={}), "'smal'; did you mean `small`"),
        (lambda d: d["emulate"]["endpoints"].update(cloud={}), "unknown key 'cloud'"),
        (lambda d: d.update(emulat={}), "did you mean `emulate`"),
        (lambda d: d["endpoints"][0].update(modell="x"), "did you mean `model`"),
        (lambda d: d["endpoints"][0].pop("model"), "model is missing"),
        (lambda d: d["endpoints"][0].update(url="http://h/v1"), "with a port"),
        (lambda d: d["endpoints"][0].update(url="http://h:99999/v1"), "99999"),
        (lambda d: d["endpoints"][1].update(url="http://127.0.0.1:8101/v1"), "port 8101"),
        (lambda d: d["endpoints"][1].update(id="small"), "two endpoints have the id"),
        (lambda d: d["endpoints"][1].update(server="small"), "but not the url"),
        (
            lambda d: d["endpoints"][1].update(server="small", url="http://127.0.0.1:8101/v1"),
            "same profile",
        ),
        (
            lambda d: d["emulate"]["endpoints"]["small"].update(preset="qwen-7b@a100"),
            "did you mean `qwen2.5-7b@a100`",
        ),
        (
            lambda d: d["emulate"]["endpoints"]["large"].update(preset="qwen2.5-72b@a100x1"),
            "it fits as qwen2.5-72b@a100x4",
        ),
        (lambda d: d["emulate"]["endpoints"]["small"].update(seats="many"), "seats"),
        (lambda d: d["emulate"]["endpoints"]["small"].update(batch_points=[[1]]), "batch_points"),
        (lambda d: d["emulate"]["endpoints"]["small"].update(step_s=-1), "step_s"),
        (lambda d: d["emulate"].update(speedup=0), "above 0"),
        (lambda d: d.update(modells={}), "did you mean `models`"),
        (lambda d: d.update(models=["qwen-7b"]), "models must be a mapping"),
        (lambda d: d["models"].update(agent="qwen-7b"), "models.agent must be a list of models"),
        (lambda d: d["models"].update(agent={"fallback": "small"}), "or hold one as any_of"),
        (lambda d: d["endpoints"].clear(), "nothing to emulate"),
        (lambda d: d.update(endpoints={}), "nothing to emulate"),
        (lambda d: d.update(endpoints="x"), "must be a list"),
    ],
)
def test_mistakes_are_named(edit, message):
    with pytest.raises(ConfigError, match=r"headway\.yaml") as caught:
        parse_config(changed(edit))
    assert message in str(caught.value)


def test_an_endpoint_has_the_pool_names_that_list_its_model():
    def more(document):
        document["models"] = {
            "agent": ["qwen-7b", "qwen-72b"],
            "judge": {"any_of": ["qwen-72b"], "fallback": "large"},
        }

    small, large = parse_config(changed(more)).endpoints
    assert (small.aliases, large.aliases) == (("agent",), ("agent", "judge"))
    assert parse_config(changed(lambda d: d.pop("models"))).endpoints[0].aliases == ()


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(broken)


def test_answers_by_reference():
    assert isinstance(load_answers(""), FillerAnswers)
    assert isinstance(load_answers("headway.emulate.answers:FillerAnswers"), FillerAnswers)
    for wrong in ("headway.emulate.answers", "no.such.module:x", "headway.emulate.answers:POOL"):
        with pytest.raises(ConfigError, match=r"emulate\.answers"):
            load_answers(wrong)
    with pytest.raises(ConfigError, match="no method answer"):
        load_answers("headway.emulate.answers:CHARS_PER_TOKEN")
