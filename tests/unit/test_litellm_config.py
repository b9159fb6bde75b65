"""A LiteLLM proxy's config.yaml: which pool it becomes, and how each mistake is told."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway.core.errors import ConfigError
from headway.core.pool import EndpointSpec
from headway.daemon.config import Config
from headway.daemon.litellm_config import load_litellm

GOOD = """\
model_list:
  - model_name: agent
    litellm_params:
      model: hosted_vllm/Qwen/Qwen2.5-7B
      api_base: os.environ/SMALL_URL
      api_key: os.environ/SMALL_KEY
      rpm: 60
    model_info:
      id: small-1
      supports_vision: true
      supports_function_calling: false
      max_input_tokens: 32768
      headway: {profile: {seats: 8}, rtt: 0.002}
  - model_name: agent
    litellm_params:
      model: openai/gpt-4o
    model_info:
      id: 72
  - model_name: judge
    litellm_params:
      model: anthropic/claude-sonnet
      api_key: sk-a-literal-key-of-claude
    model_info: {id: claude}
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: {helper: agent, referee: {model: judge, hidden: true}}
litellm_settings:
  fallbacks: [{judge: [agent]}]
  callbacks: ["headway_litellm.callback"]
headway:
  policy: {name: fcfs, seed: 7}
  models: {agent: {fallback: small-1, switch_in_loop: true}, helper: {fallback: "72"}}
  quality: {gpt-4o: 0.9}
  classes: {interactive: {deadline_s: 20}}
  gateways: {"http://localhost:4000/v1": headway}
"""


@pytest.fixture(autouse=True)
def small_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_URL", "http://10.0.0.1:8000/v1/")
    monkeypatch.delenv("SMALL_KEY", raising=False)


def load(folder: Path, text: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(textwrap.dedent(text))
    return load_litellm(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value)


def entry(
    model: str = "hosted_vllm/m",
    *,
    group: str = "agent",
    id: str = "a",
    info: str = "",
    **params: str,
) -> str:
    """One deployment in braces; the items of a `model_list` are one line each."""
    said = "".join(f", {key}: {value}" for key, value in params.items())
    return (
        f"  - {{model_name: {group}, litellm_params: {{model: {model}{said}}}, "
        f"model_info: {{id: {id}{info}}}}}\n"
    )


def listed(*entries: str) -> str:
    return "model_list:\n" + "".join(entries)


BASE = "http://h:1/v1"


def only(folder: Path, model: str, **params: str) -> EndpointSpec:
    (spec,) = load(folder, listed(entry(model, **params))).pool.endpoints
    return spec


# -- what it becomes -------------------------------------------------------------------------------


def test_a_whole_file_becomes_a_pool_and_a_policy(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    small, gpt, claude = config.pool.endpoints
    assert (small.id, small.url, small.model, small.engine) == (
        "small-1",
        "http://10.0.0.1:8000/v1",
        "Qwen/Qwen2.5-7B",
        "vllm",
    )
    assert (small.api_key, small.rpm, small.context_tokens) == ("os.environ/SMALL_KEY", 60, 32768)
    assert small.profile is not None
    assert (small.profile.seats, small.rtt_s) == (8, 0.002)
    assert (gpt.id, gpt.url, gpt.model, gpt.engine) == (
        "72",
        "https://api.openai.com/v1",
        "gpt-4o",
        "openai",
    )
    assert gpt.api_key == "os.environ/OPENAI_API_KEY"
    assert (claude.url, claude.model, claude.api_key) == ("", "claude-sonnet", "")
    assert config.pool.name("agent").models == ("Qwen/Qwen2.5-7B", "gpt-4o")
    assert config.pool.name("judge").models == ("claude-sonnet",)
    assert config.pool.capabilities == {"Qwen/Qwen2.5-7B": ("response_format", "vision")}
    assert config.pool.quality == {"gpt-4o": 0.9}
    assert config.pool.gateways == {"http://localhost:4000/v1": "headway"}
    assert config.pool.class_deadlines == {"interactive": 20.0}
    assert (config.policy, config.seed) == ("fcfs", 7)
    assert config.source == f"LiteLLM configuration {tmp_path / 'config.yaml'}"


def test_an_alias_is_its_groups_pool_name_with_options_of_its_own(tmp_path: Path) -> None:
    pool = load(tmp_path, GOOD).pool
    agent, helper, referee = pool.name("agent"), pool.name("helper"), pool.name("referee")
    assert (agent.fallback, agent.switch_in_loop) == ("small-1", True)
    assert (helper.models, helper.fallback, helper.switch_in_loop) == (agent.models, "72", True)
    assert referee.models == ("claude-sonnet",)


def test_what_it_notes(tmp_path: Path) -> None:
    text = GOOD.replace(
        "router_settings:", "general_settings: {store_model_in_db: true}\n" + "router_settings:"
    )
    notes = load(tmp_path, text).notes
    assert "only LiteLLM can send to claude: provider anthropic" in notes[0]
    assert "models in LiteLLM's database are not read" in notes[1]
    assert "sk-a-literal-key-of-claude" not in " ".join(notes)
    assert "will not ask" not in " ".join(notes)


@pytest.mark.parametrize("said", ["callbacks: []", "callbacks: [otel]", "callbacks: otel", "x: 1"])
def test_a_proxy_that_will_not_ask_is_noted(tmp_path: Path, said: str) -> None:
    text = GOOD.replace('callbacks: ["headway_litellm.callback"]', said)
    (note,) = (one for one in load(tmp_path, text).notes if "the proxy will not ask" in one)
    assert 'add callbacks: ["headway_litellm.callback"]' in note
    decided_before = text.replace(": headway}", ": litellm}")
    assert "will not ask" not in " ".join(load(tmp_path, decided_before).notes)


def test_one_callback_needs_no_list(tmp_path: Path) -> None:
    text = GOOD.replace('["headway_litellm.callback"]', "headway_litellm.callback")
    assert "will not ask" not in " ".join(load(tmp_path, text).notes)


def test_a_base_without_a_path_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_URL", "http://10.0.0.1:8000")
    assert "the URL of small-1 has no path" in " ".join(load(tmp_path, GOOD).notes)


@pytest.mark.parametrize(
    ("model", "params", "served", "engine"),
    [
        ("hosted_vllm/Qwen/Qwen2.5-7B", {}, "Qwen/Qwen2.5-7B", "vllm"),
        ("openai/openai/gpt-oss", {}, "openai/gpt-oss", "openai"),
        ("litellm_proxy/agent", {}, "agent", "openai"),
        ("text-completion-openai/m", {}, "m", "openai"),
        ("m", {"custom_llm_provider": "openai"}, "m", "openai"),
        ("Qwen/m", {"custom_llm_provider": "hosted_vllm"}, "Qwen/m", "vllm"),
        ("hosted_vllm/m", {"custom_llm_provider": "hosted_vllm"}, "m", "vllm"),
        ("gpt-4o", {}, "gpt-4o", "openai"),
        ("openai/m", {"use_litellm_proxy": "true"}, "openai/m", "openai"),
    ],
)
def test_providers_that_speak_openais_protocol(
    tmp_path: Path, model: str, params: dict[str, str], served: str, engine: str
) -> None:
    spec = only(tmp_path, model, api_base=BASE, **params)
    assert (spec.url, spec.model, spec.engine) == (BASE, served, engine)


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("azure/gpt-4o", {"api_base": '"https://x.openai.azure.com/?a=b"'}),
        ("ollama/m", {"api_base": "http://h:11434"}),
        ("bedrock/m", {}),
        ("hosted_vllm/m", {}),
        ("Qwen/m", {"api_base": BASE}),
        ("m", {"api_base": BASE}),
    ],
)
def test_all_others_have_no_url_and_it_is_noted(
    tmp_path: Path, model: str, params: dict[str, str]
) -> None:
    config = load(tmp_path, listed(entry(model, **params)))
    assert [spec.url for spec in config.pool.endpoints] == [""]
    assert "only LiteLLM can send to a" in config.notes[0]


def test_what_cannot_be_scheduled_is_left_out_and_needs_no_id(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        listed(
            entry(api_base=BASE),
            '  - {model_name: "openai/*", litellm_params: {model: "openai/*"}}\n',
            entry("openai/e", group="emb", info=", mode: embedding"),
            "  - {model_name: auto, litellm_params: {model: auto_router/x}}\n",
        )
        + "router_settings: {model_group_alias: {e: emb}}\n",
    )
    assert [spec.id for spec in config.pool.endpoints] == ["a"]
    assert [name.name for name in config.pool.names] == ["agent"]
    told = "\n".join(config.notes)
    for part in ("openai/*: a name with wildcards", "emb: its mode is embedding", "auto: ", "e: "):
        assert f"left out of the pool: {part}" in told


def test_one_engine_in_two_groups_shares_its_capacity(tmp_path: Path) -> None:
    entries = (
        entry(id="a", api_base=BASE),
        entry(id="b", group="judge", api_base="http://H:1/v1/"),
        entry(id="c", api_base="http://h:2/v1"),
        entry(id="d", group="judge", api_base=BASE, info=", headway: {server: gpu-0}"),
        entry("openai/m", id="e", api_base=BASE),
    )
    endpoints = load(tmp_path, listed(*entries)).pool.endpoints
    assert [spec.server for spec in endpoints] == [BASE, BASE, "", "gpu-0", ""]


def test_a_literal_key_is_neither_kept_nor_told(tmp_path: Path) -> None:
    config = load(tmp_path, listed(entry(api_base=BASE, api_key="sk-very-secret")))
    assert config.pool.endpoints[0].api_key == ""
    assert "the literal api_key of a is not taken over" in config.notes[0]
    assert "sk-very-secret" not in repr(config)


def test_openais_default_key_goes_to_openai_alone(tmp_path: Path) -> None:
    assert only(tmp_path, "openai/gpt-4o").api_key == "os.environ/OPENAI_API_KEY"
    assert only(tmp_path, "openai/gpt-4o", api_base=BASE).api_key == ""


def test_abilities_are_the_models_and_a_no_counts_for_all(tmp_path: Path) -> None:
    text = listed(
        entry(id="a", api_base=BASE, info=", supports_vision: true, supports_reasoning: true"),
        entry(id="b", api_base="http://h:2/v1", info=", supports_vision: false"),
        entry("hosted_vllm/n", id="c", api_base=BASE),
    )
    assert load(tmp_path, text).pool.capabilities == {
        "m": ("tools", "response_format", "reasoning")
    }
    text += "headway: {capabilities: {m: [vision], n: []}}\n"
    assert load(tmp_path, text).pool.capabilities == {"m": ("vision",), "n": ()}


def test_includes_extend_lists_and_replace_the_rest(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.yaml").write_text(
        listed(entry(id="b", api_base="http://h:2/v1"))
        + "include: [c.yaml]\nheadway: {policy: least-busy}\n"
    )
    (tmp_path / "more" / "c.yaml").write_text(
        listed(entry(id="c", api_base="http://h:3/v1")) + "include: [../config.yaml]\n"
    )
    own = listed(entry(id="a", api_base=BASE)) + "include: [more/b.yaml]\nheadway: {policy: fcfs}\n"
    config = load(tmp_path, own)
    assert [spec.id for spec in config.pool.endpoints] == ["a", "b", "c"]
    assert config.policy == "least-busy"
    (tmp_path / "more" / "c.yaml").write_text(listed(entry(id="a", api_base="http://h:3/v1")))
    message = refused(tmp_path, own)
    assert f"{tmp_path / 'more' / 'c.yaml'}:2: the id `a`" in message
    assert f"{tmp_path / 'config.yaml'}:2" in message
    assert "config.yaml:3: include.0 includes it" in refused(
        tmp_path, own.replace("b.yaml", "d.yaml")
    )


# -- mistakes --------------------------------------------------------------------------------------

NAMELESS = """\
model_list:
  - model_name: my agent
    litellm_params:
      model: hosted_vllm/a
      api_base: http://h:1/v1
  - litellm_params:
      model: hosted_vllm/b
      api_base: http://h:2/v1
    model_info:
        mode: chat
    model_name: my agent
  - model_name: my agent
    litellm_params: {model: hosted_vllm/c, api_base: "http://h:3/v1"}
    model_info:
"""


def test_missing_ids_print_the_lines_that_mend_the_file(tmp_path: Path) -> None:
    message = refused(tmp_path, NAMELESS)
    path = tmp_path / "config.yaml"
    for line in (2, 6, 12):
        assert f"{path}:{line}: this deployment of `my agent` has no `model_info.id`" in message
    added = [line for line in message.splitlines() if line.startswith(" ")]
    assert added == [
        "    model_info:",
        "      id: my-agent-1",
        "        id: my-agent-2",
        "      id: my-agent-3",
    ]
    lines = NAMELESS.splitlines()
    mended = [*lines[:5], *added[:2], *lines[5:9], added[2], *lines[9:], added[3]]
    config = load(tmp_path, "\n".join(mended))
    assert [spec.id for spec in config.pool.endpoints] == ["my-agent-1", "my-agent-2", "my-agent-3"]


@pytest.mark.parametrize(
    ("info", "mended"),
    [
        ("", "write `model_info: {id: agent-1}` inside its braces"),
        (", model_info: {mode: chat}", "write `id: agent-1` inside the braces of its `model_info`"),
    ],
)
def test_missing_ids_in_braces(tmp_path: Path, info: str, mended: str) -> None:
    line = f"  - {{model_name: agent, litellm_params: {{model: openai/x}}{info}}}\n"
    assert refused(tmp_path, listed(line)).endswith(mended)


def test_missing_ids_of_a_list_in_one_line(tmp_path: Path) -> None:
    line = "model_list: [{model_name: agent, litellm_params: {model: openai/x}}]\n"
    mended = "write `model_info: {id: agent-1}` inside its braces"
    assert refused(tmp_path, line).endswith(mended)


A = entry(id="a", api_base=BASE)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            listed(A, entry("hosted_vllm/n", id="a", api_base=BASE)),
            [":3: the id `a` is already that of", ":2: give each deployment its own"],
        ),
        (
            listed(A, entry(id="b", api_base=BASE, rpm="5")),
            [":3: is the same deployment of `agent` as", ":2 (same model, api_base"],
        ),
        (listed(entry(id="[1]", api_base=BASE)), [":2: model_list.0.model_info.id", "a text"]),
        (
            listed(entry(api_base="os.environ/NOT_SET_ANYWHERE")),
            ["litellm_params.api_base", "NOT_SET_ANYWHERE is not set where `headway up` runs"],
        ),
        (
            listed(entry(api_base="h:1")),
            [":2: model_list.0.litellm_params.api_base: is no base URL", "http://"],
        ),
        (listed(entry(api_base='"http://u:pass@h:1/v1"')), ["holds a user", "api_base"]),
        (listed(entry(api_base=BASE, rpm="-1")), ["litellm_params.rpm", "greater than 0"]),
        (
            listed(entry(api_base=BASE, info=", max_input_tokens: many")),
            ["model_info.max_input_tokens", "valid integer"],
        ),
        (
            listed(entry(api_base=BASE, info=", supports_vision: maybe")),
            ["model_info.supports_vision", "true or false"],
        ),
        (
            listed(entry(api_base=BASE, info=", headway: {sever: x}")),
            ["model_info.headway.sever: unknown key `sever`; did you mean `server`?"],
        ),
        (
            listed(entry(api_base=BASE, info=", headway: {url: x}")),
            ["model_info.headway.url: is taken from `litellm_params.api_base`"],
        ),
        (
            listed(entry(api_base=BASE, info=", headway: {profile: {seat: 1}}")),
            [":2: model_list.0.model_info.headway.profile.seat", "did you mean `seats`?"],
        ),
        (listed(entry(api_base=BASE, info=", headway: 1")), ["headway: should hold keys"]),
        (listed("  - {litellm_params: {model: x}}\n"), ["model_list.0.model_name: is missing"]),
        (listed("  - {model_name: x}\n"), ["model_list.0.litellm_params: is missing"]),
        (listed("  - {model_name: x, litellm_params: {api_base: y}}\n"), ["model: is missing"]),
        (listed("  - 1\n"), ["model_list.0: should hold `model_name`"]),
        (listed(entry('"*"', group='"*"')), ["nothing in it can be scheduled", "wildcards"]),
        ("general_settings: {store_model_in_db: true}\n", ["no `model_list:`", "database"]),
        ("- 1\n", ["should hold keys such as `model_list:`"]),
        (listed(A) + "include: other.yaml\n", [":3: include: should be a list"]),
        (listed(A) + "headway: {modles: {}}\n", [":3: headway.modles", "did you mean `models`?"]),
        (listed(A) + "headway: {endpoints: []}\n", ["unknown key `endpoints`"]),
        (listed(A) + "headway: []\n", [":3: headway: should hold keys"]),
        (listed(A) + "headway: {models: {agnt: {}}}\n", ["no group or alias `agnt`", "`agent`?"]),
        (listed(A) + "headway: {models: {agent: {any_of: [m]}}}\n", [".any_of: remove it"]),
        (listed(A) + "headway: {models: {agent: {fall: a}}}\n", ["did you mean `fallback`?"]),
        (listed(A) + "headway: {models: {agent: {fallback: z}}}\n", [":3:", "or model `z`"]),
        (listed(A) + "headway: {quality: {n: 0.5}}\n", [":3: headway.quality.n: no endpoint"]),
        (listed(A) + f'headway: {{gateways: {{"{BASE}": litellm}}}}\n', ["endpoint `a` too"]),
        (listed(A) + 'headway: {gateways: {"": litellm}}\n', ["headway.gateways", "no base URL"]),
        (
            listed(A) + "router_settings: {model_group_alias: {x: agnt}}\n",
            [":3: router_settings.model_group_alias.x: no group `agnt`; did you mean `agent`?"],
        ),
    ],
)
def test_each_mistake_is_told_with_its_place_and_what_to_do(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = refused(tmp_path, text)
    assert str(tmp_path / "config.yaml") in message
    for part in parts:
        assert part in message


ODD: list[Any] = [None, 0, [1], {1: 2}, "os.environ/NO_SUCH"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("seen: 2024-13-45\nmodel_list: []\n", "not valid YAML: month must be in 1..12"),
        (
            listed(A.replace(BASE, "'http://[::1/v1'")),
            "litellm_params.api_base: is no base URL",
        ),
        (listed(A) + 'include: ["a\\0b"]\n', "include: should be a list of file names"),
    ],
)
def test_what_python_cannot_read_is_told_as_a_mistake(tmp_path: Path, text: str, part: str) -> None:
    assert part in refused(tmp_path, text)


def test_a_password_in_a_gateways_url_is_not_repeated(tmp_path: Path) -> None:
    gateway = "http://user:pass-word@h:4000/v1?key=pass-word"
    told = refused(tmp_path, listed(A) + f"headway: {{gateways: {{'{gateway}': litellm}}}}\n")
    assert "headway.gateways.http://h:4000/v1: holds a user" in told
    assert "pass-word" not in told


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that is in `value`."""
    if at:
        yield at
    inside = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        inside = dict(enumerate(value))
    for key, inner in inside.items():
        yield from places(inner, (*at, key))


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_whatever_stands_anywhere_it_is_right_or_a_clear_error(tmp_path: Path, odd: Any) -> None:
    path = tmp_path / "config.yaml"
    told = 0
    for at in places(yaml.safe_load(GOOD)):
        content = part = yaml.safe_load(GOOD)
        for key in at[:-1]:
            part = part[key]
        part[at[-1]] = odd
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        try:
            load_litellm(path)
        except ConfigError as error:
            assert str(path) in str(error)
            told += 1
    assert told


def test_keys_of_one_provider_in_two_accounts_are_two_deployments(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        listed(
            entry("openai/gpt-4o", id="a", api_key="os.environ/ONE"),
            entry("openai/gpt-4o", id="b", api_key="os.environ/TWO"),
            entry("bedrock/m", id="c", aws_region_name="eu-1"),
            entry("bedrock/m", id="d", aws_region_name="us-1"),
        ),
    )
    assert len(config.pool.endpoints) == 4


def test_no_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--litellm"):
        load_litellm(tmp_path / "none.yaml")


def test_the_reference_shows_a_file_that_is_right(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "litellm-config.md"
    example = page.read_text().split("```yaml\n")[1].split("```")[0]
    config = load(tmp_path, example)
    assert [spec.id for spec in config.pool.endpoints] == ["small-1", "large-1", "claude"]
    assert config.pool.name("helper").models == config.pool.name("agent").models
    assert yaml.safe_load(example)["litellm_settings"]["callbacks"] == ["headway_litellm.callback"]
