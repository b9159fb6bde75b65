"""The test bench: real vLLM servers that keep the times of the profiles they were given."""

import json
import time

import httpx
import pytest

from tests.paced.pace import Lateness
from tests.paced.servers import PacedPool, PacedServer
from tests.vllm.asking import are_gone, body, chat, client, complete, forks, metrics
from tests.vllm.conftest import LARGE, MIDDLE, SMALL

pytestmark = pytest.mark.vllm
SERVERS = (SMALL, MIDDLE, LARGE)
EACH = pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)


def tokens(count: int, *, seed: int) -> list[int]:
    """A prompt of `count` token ids; two seeds share no block."""
    return [300 + (seed * 977 + place * 31) % 7000 for place in range(count)]


def alone(
    pool: PacedPool, server: PacedServer, prompt: list[int], output: int
) -> tuple[Lateness, float]:
    """Ask a server that has nothing else to do: what its report grew by, and how long it took."""
    before = pool.late()[server.name]
    began = time.monotonic()
    complete(pool.url(server.name), server.model, prompt=prompt, output=output)
    took_s = time.monotonic() - began
    after = pool.late()[server.name]
    grown = Lateness(steps=after.steps - before.steps, paced_s=after.paced_s - before.paced_s)
    return grown, took_s


# What it serves


@EACH
def test_a_server_has_its_model_and_the_sizes_of_its_profile(
    paced: PacedPool, server: PacedServer
) -> None:
    url = paced.url(server.name)
    with client(url) as http:
        (model,) = http.get("models").json()["data"]
    assert model["id"] == server.model
    assert model["max_model_len"] == server.longest_tokens
    (sizes,) = [name for name in metrics(url) if name.startswith("vllm:cache_config_info")]
    assert 'block_size="32"' in sizes
    # One block is vLLM's own.
    assert f'num_gpu_blocks="{server.profile.kv_blocks + 1}"' in sizes


@EACH
def test_answers_are_as_long_as_asked(paced: PacedPool, server: PacedServer) -> None:
    for output in (1, 7, 24):
        prompt = tokens(10, seed=output)
        answer = complete(paced.url(server.name), server.model, prompt=prompt, output=output)
        assert answer["usage"]["prompt_tokens"] == 10
        assert answer["usage"]["completion_tokens"] == output
        assert answer["choices"][0]["finish_reason"] == "length"


def test_token_counts_agree_between_servers(paced: PacedPool) -> None:
    said = [chat(paced.url(one.name), one.model, "two plus two", max_tokens=1) for one in SERVERS]
    assert len({answer["usage"]["prompt_tokens"] for answer in said}) == 1


def test_a_repeated_prompt_is_cached_up_to_its_last_full_block(paced: PacedPool) -> None:
    prompt = tokens(200, seed=11)
    cached = []
    for _ in range(2):
        answer = complete(paced.url("small"), "small", prompt=prompt, output=1)
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert cached == [0, 192]


def test_structured_answers_are_well_formed(paced: PacedPool) -> None:
    picked = chat(
        paced.url("small"), "small", "next?", structured_outputs={"choice": ["search", "write"]}
    )
    assert picked["choices"][0]["message"]["content"] in ("search", "write")
    schema = {
        "type": "object",
        "properties": {"next": {"enum": ["search", "write"]}, "sure": {"type": "boolean"}},
        "required": ["next", "sure"],
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "json_schema": {"name": "step", "schema": schema}}
    answer = chat(paced.url("small"), "small", "next?", response_format=asked, max_tokens=64)
    step = json.loads(answer["choices"][0]["message"]["content"])
    assert step["next"] in ("search", "write")
    assert isinstance(step["sure"], bool)


def test_a_request_keeps_its_id(paced: PacedPool) -> None:
    with client(paced.url("small")) as http:
        asked = body("small", output=1, prompt="hello")
        answer = http.post("completions", json=asked, headers={"X-Request-Id": "call-17"})
    assert answer.json()["id"] == "cmpl-call-17"
    assert answer.headers["x-request-id"] == "call-17"


def test_metrics_have_the_names_that_are_relied_on(paced: PacedPool) -> None:
    complete(paced.url("small"), "small", prompt=tokens(40, seed=12), output=4)
    names = {name.partition("{")[0] for name in metrics(paced.url("small"))}
    expected = """
        num_requests_running num_requests_waiting num_requests_waiting_by_reason
        kv_cache_usage_perc cache_config_info engine_sleep_state
        prefix_cache_queries_total prefix_cache_hits_total num_preemptions_total
        prompt_tokens_total generation_tokens_total request_success_total
        time_to_first_token_seconds_sum inter_token_latency_seconds_sum
        request_queue_time_seconds_sum request_prefill_time_seconds_sum
        request_decode_time_seconds_sum e2e_request_latency_seconds_sum
    """
    assert {f"vllm:{name}" for name in expected.split()} <= names


# Its times


@EACH
def test_steps_take_what_the_profile_says(paced: PacedPool, server: PacedServer) -> None:
    prompt = tokens(64, seed=20)
    grown, took_s = alone(paced, server, prompt, 33)
    truth_s = server.profile.alone_s(prompt_tokens=64, output_tokens=33)
    assert grown.steps == 33
    assert grown.paced_s == pytest.approx(truth_s)
    # Never faster; how much slower depends on what else the machine does.
    assert truth_s * 0.99 < took_s < truth_s * 3 + 2


def test_sizes_are_as_one_to_three_to_eight(paced: PacedPool) -> None:
    steps = [alone(paced, server, tokens(32, seed=21), 17)[0] for server in SERVERS]
    small, middle, large = (grown.paced_s / grown.steps for grown in steps)
    assert middle / small == pytest.approx(3, rel=0.05)
    assert large / small == pytest.approx(8, rel=0.05)


def test_a_long_prompt_is_prefilled_in_chunks_and_a_cached_one_is_not(paced: PacedPool) -> None:
    prompt = tokens(5000, seed=22)
    grown, _ = alone(paced, SMALL, prompt, 3)
    assert grown.steps == 3 + 2
    truth_s = SMALL.profile.alone_s(prompt_tokens=5000, output_tokens=3)
    assert grown.paced_s == pytest.approx(truth_s)
    grown, _ = alone(paced, SMALL, prompt, 1)
    # 156 blocks of 32 are there, 8 tokens are not.
    assert grown.steps == 1
    assert grown.paced_s == pytest.approx(
        SMALL.profile.step_time_s(sequences=0, context_tokens=0, prefill_tokens=8)
    )


def test_the_lateness_is_told(paced: PacedPool) -> None:
    complete(paced.url("large"), "large", prompt=tokens(32, seed=23), output=9)
    late = paced.late()
    assert list(late) == ["small", "middle", "large"]
    assert late["large"].steps >= 9
    assert late["large"].own_s > 0
    assert 0 <= late["large"].late_steps <= late["large"].steps
    assert 0 <= late["large"].slipped_s <= late["large"].late_s


# Its end


def test_a_killed_server_is_gone_with_its_engine_and_can_be_started_again(
    paced: PacedPool,
) -> None:
    url = paced.url("middle")
    before = paced.late()["middle"]
    processes = forks(paced.pid)
    with client(url) as http:
        asked = body("middle", output=2000, prompt=tokens(32, seed=30), stream=True)
        with http.stream("POST", "completions", json=asked) as answer:
            lines = answer.iter_lines()
            next(lines)
            paced.kill("middle")
            with pytest.raises(httpx.TransportError):
                list(lines)
    with pytest.raises(httpx.ConnectError):
        complete(url, "middle", prompt=[300], output=1)
    assert sum(are_gone([process]) for process in processes) == 2
    paced.start("middle")
    complete(url, "middle", prompt=[300], output=1)
    assert paced.late()["middle"].steps > before.steps
    assert len(forks(paced.pid)) == len(processes)


def test_a_stopped_server_is_down_until_it_is_started(paced: PacedPool) -> None:
    paced.stop("large")
    with pytest.raises(httpx.ConnectError):
        complete(paced.url("large"), "large", prompt=[300], output=1)
    paced.start("large")
    complete(paced.url("large"), "large", prompt=[300], output=1)
