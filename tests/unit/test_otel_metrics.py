"""The metrics: names, values worked by hand, buckets, and no ids."""

import pytest

pytest.importorskip("opentelemetry.sdk")

from headway.client.watching import ToolEnded, ToolStarted
from headway.core.facts import GraphSeen, RunEnded, RunStarted
from tests.support.traced import Traced, begun, done, over, ready
from tests.unit.test_otel_spans import GRANTED

IDS = ("id", "run", "node", "call", "thread", "conversation", "tenant")


def played() -> Traced:
    """Two attempts of a call, the first of which failed, a tool, a workflow, an agent."""
    traced = Traced()
    now = iter(range(0, 10**15, 10**9))  # a second passes with every look at the clock
    traced.tracing._clock_ns = lambda: next(now)
    traced.tell(begun(thread="t", tenant="acme"))
    for attempt in (1, 2):
        traced.tracing.asked(ready(attempt=attempt))
        traced.tracing.routed(ready(attempt=attempt), GRANTED)
        more = {"outcome": "error", "error": "429"} if attempt == 1 else {
            "prompt_tokens": 11, "cached_tokens": 5, "output_tokens": 7, "first_token_s": 0.5,
        }  # fmt: skip
        traced.tell([done(attempt=attempt, **more)])
    traced.tell([ToolStarted(run="r", node="n", tool="1", name="search")])
    traced.tell([ToolEnded(tool="1", outcome="ok"), *over()])
    traced.tell([GraphSeen(graph="support", nodes=("model", "tools"), edges=())])
    traced.tell([RunStarted(run="a", graph="support"), RunEnded(run="a")])
    return traced


def test_values() -> None:
    points = played().points()
    on_call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "large",
        "server.address": "10.0.0.7",
        "server.port": 8001,
    }
    answered = {**on_call, "gen_ai.response.model": "large"}
    failed, good = points["gen_ai.client.inference.duration"]
    assert dict(failed.attributes) == {**on_call, "error.type": "429"}
    assert dict(good.attributes) == answered
    assert (failed.sum, good.sum) == (2.0, 2.0)
    (first,) = points["gen_ai.client.inference.time_to_first_chunk"]
    assert first.sum == 0.5
    for name, tokens in (("input", 11), ("output", 7), ("cache_read.input", 5)):
        (used,) = points[f"gen_ai.client.inference.usage.{name}_tokens"]
        assert used.value == tokens
        assert dict(used.attributes) == {**answered, "gen_ai.token.modality": "unknown"}
    (each,) = points["gen_ai.client.inference.operation.output_tokens"]
    assert (each.sum, each.count) == (7, 1)
    (ratio,) = points["headway.prediction.output_tokens"]
    assert ratio.sum == 0.5
    (wait,) = points["headway.wait"]
    assert (wait.sum, wait.count) == (2.0, 2)
    (decisions,) = points["headway.decisions"]
    assert decisions.value == 2
    assert dict(decisions.attributes) == {
        "headway.pool_name": "agent",
        "headway.decision.source": "daemon",
        "headway.decision.endpoint": "b",
        "gen_ai.request.model": "large",
    }
    (tool,) = points["gen_ai.execute_tool.duration"]
    assert (tool.sum, tool.attributes["gen_ai.tool.name"]) == (1.0, "search")
    (workflow,) = points["gen_ai.invoke_workflow.duration"]
    assert dict(workflow.attributes) == {"gen_ai.workflow.name": "g"}
    (agent,) = points["gen_ai.invoke_agent.duration"]
    assert dict(agent.attributes) == {"gen_ai.agent.name": "support"}
    (calls,) = points["gen_ai.invoke_agent.inference_calls"]
    assert (calls.sum, calls.count) == (0, 1)


def test_buckets_are_those_of_the_conventions() -> None:
    points = played().points()
    (_, call) = points["gen_ai.client.inference.duration"]
    assert call.explicit_bounds == pytest.approx(
        (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
    )
    (tokens,) = points["gen_ai.client.inference.operation.input_tokens"]
    assert tokens.explicit_bounds[:4] == (1, 4, 16, 64)
    assert tokens.explicit_bounds[-1] == 67108864
    (agent,) = points["gen_ai.invoke_agent.duration"]
    assert agent.explicit_bounds[0] == 0.1 and agent.explicit_bounds[-1] == pytest.approx(409.6)


def test_no_ids_on_metrics() -> None:
    for name, points in played().points().items():
        for point in points:
            for attribute in point.attributes:
                assert not set(attribute.split(".")) & set(IDS), (name, attribute)
