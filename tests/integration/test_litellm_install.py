"""Putting Headway into LiteLLM and taking it out; functions that were imported too early."""

import asyncio
import inspect
import os
import subprocess
import sys
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.router import Router

import headway_litellm
from headway.calling.guard import complaints
from headway.core.facts import CallEnded
from headway_litellm.escaped import UNSEEN
from headway_litellm.hooks import HeadwayCallback
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, deployment, router, run, using_litellm


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)


def test_the_callbacks_parameters_have_the_base_classs_names() -> None:
    for name, method in vars(HeadwayCallback).items():
        if not name.startswith("_"):
            base = inspect.signature(getattr(CustomLogger, name))
            assert tuple(inspect.signature(method).parameters) == tuple(base.parameters), name


def test_install_is_idempotent_and_uninstall_puts_back(client: FakeClient) -> None:
    names = ("acompletion", "completion", "acompletion_with_retries", "completion_with_retries")
    before = [getattr(litellm, name) for name in names]
    ours = dict(vars(Router))
    with using_litellm(client):
        wrapped = litellm.acompletion
        assert wrapped is not before[0]
        assert headway_litellm.install() is None
        assert litellm.acompletion is wrapped
        assert litellm.callbacks == [headway_litellm.callback]
        assert headway_litellm.callback is headway_litellm.callback
        headway_litellm.uninstall()
        headway_litellm.uninstall()
        assert [getattr(litellm, name) for name in names] == before
        assert dict(vars(Router)) == ours
        assert litellm.callbacks == []


def test_install_takes_a_router_and_gives_it_back(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        used = router(a.url, b.url)
        assert headway_litellm.install(used) is used
        for wrong in ("router", object(), Router):
            with pytest.raises(TypeError, match=r"litellm\.Router"):
                headway_litellm.install(wrong)


def test_a_router_that_is_not_in_the_pool_is_warned_of_once(
    client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    entry = deployment("agent", "http://127.0.0.1:9/v1", "hosted_vllm/x", "elsewhere")
    unnamed = {"model_name": "two", "litellm_params": {**entry["litellm_params"], "timeout": 3}}
    with using_litellm(client):
        used = Router(model_list=[entry, unnamed])
        headway_litellm.install(used)
        headway_litellm.install(used)
        complaints.counts.clear()
    said = [record.getMessage() for record in caplog.records if "headway" in record.getMessage()]
    assert len(said) == 2
    assert "elsewhere" in said[0] and "a, b" in said[0]
    assert "two" in said[1] and "model_info" in said[1]


def test_an_unknown_litellm_is_left_alone(a: FakeOpenAI, client: FakeClient) -> None:
    def other(self: Any, query: str) -> None:
        """A method with another signature."""

    with using_litellm(client) as installed:
        installed.patch.uninstall()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Router, "async_get_healthy_deployments", other)
            before = litellm.acompletion
            assert installed.patch.install(litellm) is False
            assert "async_get_healthy_deployments takes self, query" in installed.patch.problem
            assert litellm.acompletion is before
        complaints.counts.clear()


async def test_an_asynchronous_call_imported_earlier_is_covered_all_the_same(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    early = litellm.acompletion
    b.fail(1, 500)
    said: Any = {"model": "hosted_vllm/agent", "api_base": a.url, "messages": HI}

    async def course() -> None:
        with pytest.raises(Exception, match="told to fail"):
            await early(**said)
        await early(**said)

    with using_litellm(client) as installed:
        await arun(course)
        assert installed.callback().escaped.open == {}
    ends = [(end.outcome, end.error) for end in client.of(CallEnded)]
    assert ends == [("error", "500"), ("ok", "")]
    assert b.bodies[1]["priority"] == -2500 and a.requests == []
    assert client.passed == []


@pytest.mark.parametrize("way", ["completion", "acompletion"])
async def test_other_calls_imported_earlier_are_counted(
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    early = getattr(litellm, way)
    said: Any = {"model": "hosted_vllm/agent", "api_base": a.url, "messages": HI}

    async def streamed() -> None:
        assert len([chunk async for chunk in await early(**said, stream=True)]) > 0

    with using_litellm(client):
        if way == "completion":
            await asyncio.to_thread(run, lambda: early(**said))
        else:
            await arun(streamed)
    assert len(a.requests) == 1 and client.asks == []
    assert [(one.why, one.target) for one in client.passed] == [(UNSEEN, a.url)]


def test_importing_headway_litellm_does_not_import_litellm() -> None:
    code = "import sys, headway_litellm; headway_litellm.install(); print('litellm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout == b"False\n"


def test_a_litellm_that_is_imported_later_is_patched_then() -> None:
    code = (
        "import headway_litellm; headway_litellm.install()\n"
        "import litellm; print(litellm.callbacks == [headway_litellm.callback],"
        " hasattr(litellm.acompletion, '__wrapped__'), litellm.Router.acompletion.__module__)\n"
    )
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, env=environ
    )
    assert done.stdout.split()[:2] == [b"True", b"True"]
