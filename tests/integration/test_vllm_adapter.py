"""The adapter for vLLM against servers that answer as vLLM does, well and badly."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from headway.core.facts import EndpointSeen
from headway.core.pool import EndpointSpec
from headway.core.types import EndpointId
from headway.daemon.adapters import GROUP, Listed, adapter_of, shows_load
from headway_vllm import adapter
from headway_vllm.flags import local_command, read_command, read_models, read_server_info
from headway_vllm.metrics import Life, read_metrics
from tests.integration.test_daemon_scrape import served, watching
from tests.support.daemons import until

LABELS = 'engine="0",model_name="qwen"'


@dataclass(slots=True)
class FakeVllm:
    """Pages as vLLM 0.32 writes them; tests change what they say."""

    served: tuple[str, ...] = ("qwen",)
    labels: str = LABELS
    tokens: int = 100
    asleep: bool = False
    info: dict[str, Any] | None = None
    started: float | None = 1.0
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        pages: dict[str, Callable[[], web.Response]] = {
            "/metrics": lambda: web.Response(text=self.metrics()),
            "/version": lambda: web.json_response({"version": "0.32.0"}),
            "/v1/models": self.models,
            "/server_info": self.server_info,
        }
        page = pages.get(request.path)
        return page() if page is not None else web.Response(status=404)

    def models(self) -> web.Response:
        entries = [{"id": name, "root": "path", "max_model_len": 8192} for name in self.served]
        return web.json_response({"object": "list", "data": entries})

    def server_info(self) -> web.Response:
        if self.info is None:
            return web.Response(status=404)
        return web.json_response({"vllm_config": self.info})

    def metrics(self) -> str:
        awake = int(not self.asleep)
        return "\n".join(
            (
                f"vllm:num_requests_running{{{self.labels}}} 3.0",
                f"vllm:num_requests_waiting{{{self.labels}}} 2.0",
                f'vllm:engine_sleep_state{{{self.labels},sleep_state="awake"}} {awake}',
                f'vllm:engine_sleep_state{{{self.labels},sleep_state="discard_all"}} {1 - awake}',
                f"vllm:kv_cache_usage_perc{{{self.labels}}} 0.25",
                f"vllm:generation_tokens_total{{{self.labels}}} {self.tokens}",
                'vllm:cache_config_info{block_size="32",engine="0",num_gpu_blocks="1000"} 1.0',
                "" if self.started is None else f"process_start_time_seconds {self.started}",
                "",
            )
        )


def spec(url: str) -> EndpointSpec:
    return EndpointSpec(id=EndpointId("a"), url=url, model="qwen", engine="vllm")


def test_the_daemon_finds_the_adapter_by_its_entry_point() -> None:
    assert adapter_of("vllm") is adapter and adapter_of("emulated") is adapter
    assert shows_load("vllm") and not shows_load("openai")


async def test_load_sizes_and_what_the_server_is() -> None:
    info = {
        "scheduler_config": {"policy": "fcfs", "max_num_seqs": 8},
        "cache_config": {"enable_prefix_caching": True},
    }
    fake = FakeVllm(info=info)
    async with served(fake.answer) as url, watching(spec(url)) as seen:
        await until(lambda: fake.asked.count("/metrics") > 3)
    assert seen == [
        EndpointSeen(
            endpoint=EndpointId("a"),
            reachable=True,
            running=3,
            waiting=2,
            kv_used=0.25,
            kv_tokens=32000,
            seats=8,
            asleep=False,
            version="0.32.0",
            context_tokens=8192,
            heeds_urgency=False,
        )
    ]
    # what only a restart changes is asked for once
    assert fake.asked.count("/v1/models") == fake.asked.count("/version") == 1


async def test_a_policy_that_cannot_be_read_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = FakeVllm()
    with caplog.at_level(logging.WARNING, "headway.vllm"):
        async with served(fake.answer) as url, watching(spec(url)) as seen:
            await until(lambda: seen)
            fake.started = 2.0
            await until(lambda: any(one.restarted for one in seen))
    (record,) = caplog.records
    assert "whether it serves its queue by priority cannot be read" in record.message
    assert seen[0].heeds_urgency is None


async def test_metrics_under_the_models_first_name_are_its_own() -> None:
    fake = FakeVllm(served=("first", "qwen"), labels='engine="0",model_name="first"')
    async with served(fake.answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
    assert (seen[0].running, seen[0].error) == (3, "")


@pytest.mark.parametrize("trouble", ["hangs", "breaks off"])
async def test_an_optional_page_that_never_comes_takes_nothing_down(trouble: str) -> None:
    fake = FakeVllm()

    async def answer(request: web.Request) -> web.Response:
        if request.path in ("/version", "/server_info"):
            if trouble == "hangs":
                await asyncio.sleep(30)
            assert request.transport is not None
            request.transport.close()
        return await fake.answer(request)

    async with served(answer) as url, watching(spec(url), timeout_s=0.5) as seen:
        await until(lambda: seen)
        looks = fake.asked.count("/metrics")
        await until(lambda: fake.asked.count("/metrics") > looks + 3)
    assert all(one.reachable for one in seen)
    assert (seen[-1].running, seen[-1].context_tokens) == (3, 8192)


async def test_without_metrics_the_rest_is_looked_at_all_the_same() -> None:
    fake = FakeVllm(served=("llama",))

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/metrics":
            return web.Response(status=403)
        return await fake.answer(request)

    async with served(answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
        fake.served = ("qwen",)
        await until(lambda: seen[-1].reachable)
    assert "serves llama, not qwen" in seen[0].error
    assert seen[-1].context_tokens == 8192
    assert "its metrics cannot be had" in seen[-1].error


async def test_engines_that_answer_in_turn_are_not_taken_for_restarts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = FakeVllm(started=None)

    async def answer(request: web.Request) -> web.Response:
        fake.tokens = 305 - fake.tokens  # 100, 205, 100, ...
        return await fake.answer(request)

    with caplog.at_level(logging.WARNING, "headway.vllm"):
        async with served(answer) as url, watching(spec(url)) as seen:
            await until(lambda: any("in turn" in record.message for record in caplog.records))
            told = len(seen)
            await until(lambda: fake.asked.count("/metrics") > 30)
    assert not any(one.restarted for one in seen[told + 1 :])


async def test_another_model_than_configured_is_out_until_it_is_there() -> None:
    fake = FakeVllm(served=("llama", "llama-lora"))
    async with served(fake.answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
        fake.served = ("qwen",)
        fake.started = 2.0  # the operator starts it anew with the right one
        await until(lambda: seen[-1].reachable)
    assert not seen[0].reachable
    assert seen[0].error.startswith("serves llama, llama-lora, not qwen: mend")
    assert seen[-1].restarted


async def test_one_that_sleeps_is_out_since_requests_hang_there() -> None:
    fake = FakeVllm(asleep=True)
    async with served(fake.answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
        fake.asleep = False
        await until(lambda: seen[-1].reachable)
    assert not seen[0].reachable and seen[0].asleep
    assert "wake_up" in seen[0].error


@pytest.mark.parametrize("told_by", ["counters that fall", "another start"])
async def test_a_restart_is_told_once(told_by: str) -> None:
    fake = FakeVllm(started=1.0 if told_by == "another start" else None)
    async with served(fake.answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
        if told_by == "another start":
            fake.started = 2.0
        else:
            fake.tokens = 5
        await until(lambda: any(one.restarted for one in seen))
        looks = len(fake.asked)
        await until(lambda: len(fake.asked) > looks + 3)
    assert [one.restarted for one in seen] == [False, True, False]
    assert fake.asked.count("/version") == 2


async def test_a_defect_of_an_adapter_does_not_end_the_watch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeVllm()

    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("headway_vllm.watcher.read_metrics", broken)
    with caplog.at_level(logging.ERROR):
        async with served(fake.answer) as url, watching(spec(url)) as seen:
            await until(lambda: fake.asked.count("/metrics") > 3)
    assert seen[0].reachable and "a defect" in seen[0].error
    assert len(caplog.records) == 1


def test_an_adapter_that_cannot_be_loaded_blinds_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    point = EntryPoint(name="theirs", value="no_such_package:adapter", group=GROUP)
    monkeypatch.setattr("headway.daemon.adapters._points", lambda: {"theirs": point})
    assert isinstance(adapter_of("theirs"), Listed)
    assert isinstance(adapter_of("theirs"), Listed)
    assert shows_load("theirs")
    (record,) = caplog.records
    assert "the adapter for theirs cannot be loaded" in record.message


def test_older_names_are_read_too() -> None:
    old = "\n".join(
        (
            f"vllm:num_requests_running{{{LABELS}}} 1",
            f"vllm:gpu_cache_usage_perc{{{LABELS}}} 0.5",
            "",
        )
    )
    gauges = read_metrics(old, "qwen")
    assert (gauges.running, gauges.kv_used, gauges.asleep) == (1, 0.5, None)
    assert not gauges.life.after_restart(Life())


def test_sizes_in_tokens_come_before_blocks() -> None:
    page = (
        'vllm:cache_config_info{block_size="32",num_gpu_blocks="10",kv_cache_size_tokens="300"} 1\n'
    )
    assert read_metrics(page, "qwen").kv_tokens == 300


# -- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "heeds", "seats"),
    [
        (("vllm", "serve", "m", "--scheduling_policy", "priority"), True, None),
        (("vllm", "serve", "m", "--config", "c.yaml"), None, None),
        (
            ("vllm", "serve", "m", "--scheduling-policy", "fcfs", "--scheduling-policy=priority"),
            True,
            None,
        ),
        (("vllm", "serve", "m", "--scheduling-policy", "priority"), True, None),
        (("/venv/bin/vllm", "serve", "m", "--max-num-seqs=8"), False, 8),
        (("python", "/venv/bin/vllm", "serve", "m", "--scheduling-policy=priority"), True, None),
        (("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"), False, None),
        (("python", "other.py", "--scheduling-policy", "priority"), None, None),
        ((), None, None),
    ],
)
def test_the_policy_on_a_command_line(
    command: tuple[str, ...], heeds: bool | None, seats: int | None
) -> None:
    flags = read_command(command)
    assert (flags.heeds_urgency(None), flags.seats) == (heeds, seats)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vllm_config": 3}', '{"vllm_config": {}}'])
def test_what_is_no_server_info_says_nothing(text: str) -> None:
    assert read_server_info(text).heeds_urgency(None) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": [{}]}', '{"data": 5}'])
def test_what_is_no_list_of_models_says_nothing(text: str) -> None:
    assert read_models(text, "qwen") is None


def test_a_context_must_be_a_length() -> None:
    page = json.dumps({"data": [{"id": "qwen", "max_model_len": -1}, {"id": "lora"}]})
    found = read_models(page, "qwen")
    assert found is not None and (found.names, found.context_tokens) == (("qwen", "lora"), None)


@pytest.mark.parametrize(
    ("command", "heeds"),
    [
        (("vllm", "serve", "m"), True),  # fcfs by default: what was declared, or proved, is better
        (("vllm", "serve", "m", "--scheduling-policy", "fcfs"), False),
    ],
)
def test_only_a_policy_that_was_read_is_better_than_a_declared_one(
    command: tuple[str, ...], heeds: bool
) -> None:
    assert read_command(command).heeds_urgency(True) is heeds


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_the_command_of_a_server_on_this_machine() -> None:
    async with served(FakeVllm().answer) as url:
        port = int(url.split(":")[2].split("/")[0])
        command = local_command(port)
    own = Path(f"/proc/{os.getpid()}/cmdline").read_bytes().decode().split("\0")
    assert list(command) == [word for word in own if word]
    assert local_command(port=1) == ()


def test_a_page_that_vllm_wrote() -> None:
    page = (Path(__file__).parents[1] / "support" / "vllm_0_32_metrics.txt").read_text()
    gauges = read_metrics(page, "small")
    assert (gauges.running, gauges.waiting, gauges.kv_used) == (0, 0, 0.0)
    # 1,024 blocks of 32 tokens, and the one that vLLM keeps for itself
    assert (gauges.kv_tokens, gauges.asleep) == (1025 * 32, False)
    assert gauges.life.counters["vllm:prompt_tokens_total"] == 420
    assert gauges.complaint == ""


def test_engines_that_answer_in_turn_behind_a_balancer_are_no_restarts() -> None:
    one, other = Life(started=1.0, counters={"c": 5.0}), Life(started=2.0, counters={"c": 1.0})
    assert other.after_restart(one)
    assert not one.after_restart(other)
