"""headway.yaml: what it becomes, and how each mistake is told."""

import re
import textwrap
from pathlib import Path

import pytest

from headway.client.engines import KNOWN_ENGINES
from headway.core.errors import ConfigError
from headway.daemon.config import Config, load_config
from headway.daemon.schema import EndpointSection
from headway.emulate.config import _SPEC_KEYS

GOOD = """\
endpoints:
  - id: seven
    url: http://10.0.0.1:8000/v1/
    model: qwen-7b
    engine: vllm
    api_key: os.environ/VLLM_KEY
    profile: {seats: 64, step_s: 0.01}
  - {id: large, url: "https://api.example.com/v1", model: qwen-72b, rtt: 0.05, rpm: 60}
capabilities:
  qwen-7b: [tools]
quality: {qwen-7b: 0.5, qwen-72b: 0.9}
models:
  agent: [qwen-7b, qwen-72b]
  judge: {any_of: [qwen-72b], fallback: large, switch_in_loop: true, idle_grace_s: 2}
classes:
  interactive: {deadline_s: 20}
  batch: {weight: 0.5}
policy: {name: headway, seed: 7, pressure: 0.4}
emulate: {speedup: 20}
"""


def load(folder: Path, text: str) -> Config:
    path = folder / "headway.yaml"
    path.write_text(text)
    return load_config(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value)


def test_a_whole_file_becomes_a_pool_and_a_policy(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    seven, large = config.pool.endpoints
    assert (seven.id, seven.url, seven.engine) == ("seven", "http://10.0.0.1:8000/v1", "vllm")
    assert seven.api_key == "os.environ/VLLM_KEY"
    assert seven.profile is not None
    assert (seven.profile.seats, seven.profile.step_s, seven.profile.prefill_s) == (
        64,
        0.01,
        0.0002,
    )
    assert (large.rtt_s, large.rpm, large.profile) == (0.05, 60, None)
    agent, judge = config.pool.names
    assert agent.models == ("qwen-7b", "qwen-72b")
    assert (judge.fallback, judge.switch_in_loop, judge.idle_grace_s) == ("large", True, 2.0)
    assert config.pool.capabilities == {"qwen-7b": ("tools",)}
    assert config.pool.quality == {"qwen-7b": 0.5, "qwen-72b": 0.9}
    assert config.pool.class_deadlines == {"interactive": 20.0}
    assert (config.policy, config.seed, config.params) == ("headway", 7, {"pressure": 0.4})
    assert config.emulate == {"speedup": 20}
    assert config.pool.mode == "on"
    assert config.source == f"configuration {tmp_path / 'headway.yaml'}"
    assert [spec.drain for spec in config.pool.endpoints] == [False, False]


def test_gateways_and_drained_endpoints(tmp_path: Path) -> None:
    text = ONE.replace("small}", "small, drain: true}")
    text += "gateways: {'http://p:4000/': litellm, 'https://q/x/v1': headway}\n"
    config = load(tmp_path, text)
    assert config.pool.endpoints[0].drain
    assert config.pool.gateways == {"http://p:4000": "litellm", "https://q/x/v1": "headway"}
    assert config.notes == ()


def test_keys_that_do_not_act_yet_are_said_and_only_those(tmp_path: Path) -> None:
    (note,) = load(tmp_path, GOOD).notes
    assert "rtt" not in note
    assert "wake_s" not in note
    assert "endpoints.rpm" in note
    assert "classes.weight" in note
    assert "tpm" not in note
    assert "tenants" not in note


def test_urls_without_a_path_are_noted_together(tmp_path: Path) -> None:
    text = (
        ONE
        + '  - {id: b, url: "http://h:2", model: m}\n  - {id: c, url: "http://h:3/", model: m}\n'
    )
    (note,) = load(tmp_path, text).notes
    assert note.startswith("the URL of b, c has no path")
    assert "http://HOST:PORT/v1" in note


def test_an_engine_that_nobody_knows_is_noted_with_the_nearest(tmp_path: Path) -> None:
    (note,) = load(tmp_path, ONE.replace("small}", "small, engine: vlm}")).notes
    assert "no engine `vlm` is known: a will be" in note
    assert note.endswith("did you mean `vllm`?")
    for engine in ("openai", *KNOWN_ENGINES):
        assert load(tmp_path, ONE.replace("small}", f"small, engine: {engine}}}")).notes == ()


def test_the_shortest_file(tmp_path: Path) -> None:
    config = load(tmp_path, 'endpoints: [{id: a, url: "http://h:1/v1", model: m}]\nmodels:\n')
    assert (config.policy, config.seed, config.params, config.notes) == ("headway", 0, {}, ())


ONE = 'endpoints:\n  - {id: a, url: "http://h:1/v1", model: small}\n'
PROFILED = 'endpoints:\n  - {id: a, url: "http://h:1/v1", model: small, profile: '


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (ONE + "model: {}\n", [":3:", "unknown key `model`", "did you mean `models`?"]),
        (
            'endpoints:\n  - id: a\n    url: "http://h/v1"\n    modle: m\n',
            [":4:", "unknown key `modle`", "did you mean `model`?", "`model` is missing"],
        ),
        (
            'endpoints:\n  - {id: a, url: "http://h/v1", model: m, profile: {seat: 3}}\n',
            ["did you mean `seats`?"],
        ),
        (ONE + "models:\n  agent: {any_of: [small], fall_back: a}\n", ["did you mean `fallback`?"]),
        (ONE + "models:\n  agent: [smal]\n", [":4:", "no endpoint serves `smal`", "`small`?"]),
        (
            ONE + "models:\n  agent: {any_of: [small], fallback: x}\n",
            ["no endpoint or model `x`", "known: a, small"],
        ),
        (ONE + "models:\n  agent: []\n", [":4:", "at least 1 item"]),
        (ONE + "models:\n  agent: [small, small]\n", ["twice"]),
        (ONE + "quality: {smll: 0.4}\n", ["no endpoint serves `smll`", "did you mean `small`?"]),
        (ONE + "quality: {small: 1.4}\n", ["less than or equal to 1"]),
        (ONE + "capabilities: {small: [tool]}\n", ["'tools'"]),
        (
            ONE + '  - {id: a, url: "http://h:2/v1", model: m}\n',
            [":3:", "`a` is already the id", "give each its own"],
        ),
        ("endpoints:\n  - {id: a, url: h:1, model: m}\n", [":2:", "is no base URL", "http://"]),
        ("endpoints:\n  - {id: a, url: 'http://h:x/v1', model: m}\n", ["is no base URL"]),
        ("endpoints:\n  - {id: a, url: 'http://u:p@h/v1', model: m}\n", ["os.environ/NAME"]),
        ("endpoints: []\n", ["at least 1 item"]),
        ("models: {}\n", ["`endpoints` is missing"]),
        ("- 1\n", ["endpoints:"]),
        ("", ["endpoints:"]),
        ("endpoints: [\n", ["not valid YAML"]),
        ("endpoints: []\nendpoints: []\n", [":2:", "already given on line 1"]),
        (ONE + "classes: {interactive: {deadline_s: -1}}\n", ["greater than 0"]),
        (ONE + "classes: {interactive: {deadline_s: .nan}}\n", ["classes.interactive.deadline_s"]),
        (ONE + "policy: {seed: one}\n", ["policy.seed", "valid integer"]),
        (ONE + "policy: fancy\n", [":3: policy: no policy 'fancy'", "known: atlas, atlas+release"]),
        (ONE + "policy: {name: headway, presure: 1}\n", [":3:", "did you mean `pressure`?"]),
        (ONE + "models:\n  agent: small\n", [":4: models.agent", "write a list: [small]"]),
        ("model_list: []\n", ["is a LiteLLM configuration: headway up --litellm "]),
        (ONE.replace("h:1", "h:99999"), [":2:", "its port is wrong", "from 1 to 65535"]),
        (
            ONE + "gateways: {'http://p:4000': lite}\n",
            [
                ":3: gateways.http://p:4000",
                "without Headway's callback",
                "headway_litellm.callback",
            ],
        ),
        (ONE + "gateways: {'p:4000': litellm}\n", [":3:", "is no base URL"]),
        (ONE + "gateways: {'http://H:1': litellm}\n", [":3:", "the URL of endpoint `a` too"]),
        (
            ONE + "gateways: {'http://p:80/': litellm, 'http://p/v1': headway}\n",
            [":3:", "is the same gateway as http://p:80"],
        ),
        (ONE.replace("small}", "small, drain: 1}"), [":2:", "drain", "valid boolean"]),
        (ONE.replace("http://h:1/v1", ""), [":2:", "is no base URL"]),
        (PROFILED + "{step_s: 0}}\n", ["profile.step_s", "greater than or equal to 0.000000001"]),
        (PROFILED + "{step_s: 5.0e-324}}\n", ["profile.step_s", "greater than"]),
        (PROFILED + "{seats: 0}}\n", ["profile.seats", "greater than 0"]),
        (PROFILED + "{kv_tokens: 0}}\n", ["profile.kv_tokens", "greater than 0"]),
    ],
)
def test_each_mistake_is_told_with_its_place_and_what_to_do(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = refused(tmp_path, text)
    assert str(tmp_path / "headway.yaml") in message
    for part in parts:
        assert part in message


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, ONE + "modes: 1\nqualty: {}\n")
    assert "`modes`" in message
    assert "did you mean `quality`?" in message
    assert len(message.splitlines()) == 2


def test_a_literal_key_is_refused_and_never_repeated(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        'endpoints:\n  - {id: a, url: "http://h/v1", model: m, api_key: sk-very-secret}\n',
    )
    assert "api_key: os.environ/NAME" in message
    assert "sk-very-secret" not in message


def test_no_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "none.yaml")


def test_the_reference_shows_a_file_that_is_right(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "headway-yaml.md"
    example = page.read_text().split("```yaml\n")[1].split("```")[0]
    config = load(tmp_path, example)
    assert [spec.id for spec in config.pool.endpoints] == ["small-1", "large-1"]
    assert config.policy == "headway"
    assert config.notes == ()


def test_the_readme_shows_a_file_that_is_right(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"^ *```yaml\n(.*?)^ *```", readme, re.DOTALL | re.MULTILINE)
    config = load(tmp_path, textwrap.dedent(example))
    assert len(config.pool.endpoints) == 3
    assert config.pool.name("agent").models == ("qwen-7b", "qwen-72b")
    assert set(config.pool.quality) == {"qwen-7b", "qwen-72b"}
    assert config.notes == ()


def test_the_emulator_knows_every_key_of_an_endpoint() -> None:
    assert set(_SPEC_KEYS) == set(EndpointSection.model_fields)
