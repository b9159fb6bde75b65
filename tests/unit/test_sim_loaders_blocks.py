"""Loaders of sets with prompt blocks: what is the same text has the same ids."""

from pathlib import Path
from typing import Any

import pytest

from headway.core.errors import ConfigError
from headway.sim.loaders import load, statistics
from headway.sim.loaders.stretches import growing, head, joined, shared, size
from headway.sim.trace import TraceNode
from headway.sim.tracefile import TraceError
from tests.unit.test_sim_loaders import chain, put

WEKA = "weka_agentic_coding"


def test_stretches() -> None:
    blocks = ((1, 3), (10, 2))
    assert (head(blocks, 0), head(blocks, 2), head(blocks, 4)) == ((), ((1, 2),), ((1, 3), (10, 1)))
    assert head(blocks, 99) == blocks
    assert joined(((1, 3),), ((4, 2), (9, 0), (9, 1))) == ((1, 5), (9, 1))
    assert size(blocks) == 5
    assert growing(7, 33, 16) == ((7, 2),)
    assert growing(7, 15, 16) == ()
    assert shared(((1, 5),), ((1, 2), (3, 2), (9, 4))) == 4
    assert shared(((1, 5),), ((2, 5),)) == 0
    assert shared(blocks, blocks) == 5


def request(tokens: int, stop: str = "tool", **more: Any) -> dict[str, Any]:
    said = {"t": 0.0, "m": "m", "in": tokens, "out": 5, "api": 1.0, "think": 3.0, "stop": stop}
    said |= {"it": "x", "ot": "u", "lcp": 0, "new": [], **more}
    said["nb"] = said["lcp"] + sum(count for _, count in said["new"])
    return said


def session(*requests: dict[str, Any], **more: Any) -> dict[str, Any]:
    subs = sum(1 for one in requests if "sub" in one)
    return {
        "id": "s", "family": "f", "block_size": 64, "tool_tokens": 1, "system_tokens": 1,
        "n_req": len(requests) - subs, "n_sub": subs, "req": list(requests), **more,
    }  # fmt: skip


def agent(*requests: dict[str, Any], dur_s: float = 50.0) -> dict[str, Any]:
    return {"sub": "a", "kind": "Explore", "t": 1.0, "dur_s": dur_s, "status": "completed",
            "tools": None, "req": list(requests)}  # fmt: skip


TWO_LOOPS = (
    request(320, new=[[1, 5]]),
    request(400, "end", lcp=4, new=[[20, 2]], think=90.0),
    request(460, "abort", lcp=6, new=[[30, 1]], think=5.0),
    request(520, "end", lcp=7, new=[[40, 1]], think=40.0),
)


def test_weka_loops_rebuild_prompts_and_drop_aborted_requests(tmp_path: Path) -> None:
    put(tmp_path, WEKA, session(*TWO_LOOPS))
    first, second = load(WEKA, tmp_path).runs
    assert (first.id, second.id, first.group, first.graph) == ("s/0", "s/2", "f", "weka.loop")
    assert [node.prefix for node in first.nodes] == [((1, 5),), ((1, 4), (20, 2))]
    assert [node.tool_s for node in first.nodes] == [0.0, 60.0]
    assert second.nodes[0].prefix == ((1, 4), (20, 2), (30, 1), (40, 1))
    assert (second.nodes[0].tool_s, second.nodes[0].think_s) == (0.0, 0.0)
    assert (first.block_tokens, first.shared_blocks, chain(first)) == (64, False, True)
    assert [node.tool_calls for node in first.nodes] == [1, 0]


def test_weka_sessions_pause_for_a_person(tmp_path: Path) -> None:
    put(tmp_path, WEKA, session(*TWO_LOOPS))
    (run,) = load(WEKA, tmp_path, where={"unit": "session"}).runs
    assert (run.id, run.graph, chain(run)) == ("s", "weka.session", True)
    assert [(node.tool_s, node.think_s) for node in run.nodes] == [(0, 0), (60, 0), (0, 40)]
    with pytest.raises(ConfigError, match=r"unit='sesion'.*did you mean `session`\?"):
        load(WEKA, tmp_path, where={"unit": "sesion"})


def test_weka_a_loop_ends_where_its_context_is_too_long(tmp_path: Path) -> None:
    put(
        tmp_path, WEKA,
        session(
            request(320, new=[[1, 5]]), request(100_001, lcp=5, new=[[9, 1]]),
            request(320, "end", lcp=5), request(330, "end", lcp=5),
        ),
    )  # fmt: skip
    first, second = load(WEKA, tmp_path).runs
    assert ([len(run.nodes) for run in (first, second)], second.id) == ([1, 1], "s/1")


def test_weka_sub_agents_run_beside_each_other(tmp_path: Path) -> None:
    one = agent(request(64, new=[[100, 1]]), request(128, "end", lcp=1, new=[[101, 1]]))
    other = agent(request(64, "end", new=[[200, 1]]), dur_s=80.0)
    put(
        tmp_path, WEKA,
        session(request(64, new=[[1, 1]]), one, other, request(128, "end", lcp=1, new=[[2, 1]],
                                                               think=95.0)),
    )  # fmt: skip
    (run,) = load(WEKA, tmp_path).runs
    assert [node.name for node in run.nodes] == ["agent", "Explore", "Explore", "Explore", "agent"]
    assert [node.parents for node in run.nodes] == [(), (0,), (1,), (0,), (2, 3)]
    assert run.nodes[2].prefix == ((100, 2),)
    assert run.nodes[4].prefix == ((1, 2),)
    assert run.nodes[4].tool_s == 15.0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (session(request(64, new=[[1, 1]]), n_req=2), "n_req is 2, but 1 are there"),
        (session(request(64, new=[[1, 1]]), n_sub=1), "n_sub is 1, but 0 are there"),
        (session(request(64, lcp=3)), "a prompt of 3 blocks has 0"),
        (session(request(64, new=[[1, 9]])), r"prefix has 9 blocks"),
    ],
)
def test_weka_wrong_rows(tmp_path: Path, row: Any, says: str) -> None:
    put(tmp_path, WEKA, row)
    with pytest.raises(TraceError, match=r"xyz\.jsonl\.gz:1: .*" + says):
        load(WEKA, tmp_path)


def turn(role: str, tokens: int | None, out: int = 10, **more: Any) -> dict[str, Any]:
    return {"role": role, "in": tokens, "out": out, "tc": 0, "tools": [], **more}


def dialogue(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "d", "bench": "tau2", "domain": "airline", "task": "airline/0", "source": "x",
        "agent_model": "a", "user_model": "u", "reward": 1.0, "n_calls": len(calls),
        "calls": list(calls), **more,
    }  # fmt: skip


def tau(tmp_path: Path, *rows: dict[str, Any]) -> list[Any]:
    put(tmp_path, "tau_dialog_workflows", *rows)
    return list(load("tau_dialog_workflows", tmp_path).runs)


def test_tau_roles_extend_their_own_prompts(tmp_path: Path) -> None:
    (run,) = tau(tmp_path, dialogue(
        turn("user_sim", 40, t0=0.0, t1=1.0), turn("agent", 100, t0=3.0, t1=4.0, tc=2),
        turn("agent", 170, t0=40.0, t1=41.0), turn("user_sim", 60, t0=41.0, t1=42.0),
    ))  # fmt: skip
    assert (run.graph, run.group, run.ok, chain(run)) == ("tau.airline", "airline/0", True, True)
    assert [node.tool_s for node in run.nodes] == [0.0, 2.0, 10.0, 0.0]
    user, agent_1, agent_2, user_2 = (node.prefix for node in run.nodes)
    assert (shared(agent_1, agent_2), shared(user, user_2), shared(user, agent_1)) == (6, 2, 0)
    assert size(agent_2) == 170 // 16
    assert run.nodes[1].tool_calls == 2


def test_tau_prompts_that_nobody_told(tmp_path: Path) -> None:
    known, person, none = (
        dialogue(
            turn("agent", None, 7), turn("user_sim", 50, 10), turn("agent", 200, 20),
            turn("user_sim", None, 5), turn("agent", None, 9), id="known", reward=0.5,
        ),
        dialogue(turn("user_sim", None), turn("agent", 30), id="person"),
        dialogue(turn("user_sim", 30), turn("agent", None), id="none"),
    )  # fmt: skip
    first, second = tau(tmp_path, known, person, none)
    # 200 less what was said after it (7 + 10); 50 and 10 + 20 more; 200 and 20 + 5 more
    assert [node.prompt_tokens for node in first.nodes] == [183, 50, 200, 80, 225]
    assert first.ok is False
    assert [node.prompt_tokens for node in second.nodes] == [0, 30]
    assert second.nodes[0].output_tokens == 0


def test_tau_success_of_a_source_that_always_succeeds_is_not_known(tmp_path: Path) -> None:
    (run,) = tau(tmp_path, dialogue(turn("agent", 9), source="adaptive-agent_community"))
    assert run.ok is None


def cached(tokens: int, hit: int, side: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "in": tokens, "cached": hit, "out": 4, "side": side, "t0": 0.0, "t1": 1.0, "tools": [],
        **more,
    }  # fmt: skip


def cgroup(tmp_path: Path, *calls: dict[str, Any]) -> tuple[TraceNode, ...]:
    put(tmp_path, "agentcgroup_swe_tools", {
        "id": "c", "set": "haiku", "task": "t", "model": "m", "n_calls": len(calls),
        "calls": list(calls),
    })  # fmt: skip
    (run,) = load("agentcgroup_swe_tools", tmp_path).runs
    assert chain(run)
    return run.nodes


def test_agentcgroup_prefixes_come_from_what_was_cached(tmp_path: Path) -> None:
    first, inner, second = cgroup(
        tmp_path,
        cached(64, 32, tools=[["Task", 30.0, 5], ["Bash", 0.5, None]]),
        cached(32, 0, side=1, t0=1.5, t1=2.0),
        cached(100, 48, t0=3.0, t1=4.0),
    )
    assert (first.prefix, inner.prefix) == (((0, 4),), ((4, 2),))
    assert second.prefix == ((0, 3), (6, 3))
    assert [node.tool_s for node in (first, inner, second)] == [0.0, 0.5, 1.0]
    assert [node.name for node in (first, inner, second)] == ["agent", "sub-agent", "agent"]
    assert first.tool_calls == 2


def test_agentcgroup_where_nothing_was_cached_prompts_grow(tmp_path: Path) -> None:
    nodes = cgroup(tmp_path, cached(64, 0), cached(96, 0), cached(32, 0))
    assert [node.prefix for node in nodes] == [((0, 4),), ((0, 6),), ((6, 2),)]


def test_lmcache_prompts_extend_any_earlier_call(tmp_path: Path) -> None:
    def call(tokens: int, lcp: int, source: int | None, *new: list[int]) -> dict[str, Any]:
        blocks = lcp + sum(count for _, count in new)
        return {"role": "r", "in": tokens, "out": 3, "nb": blocks, "lcp": lcp, "lcp_src": source,
                "new": list(new), "ts": 0.0}  # fmt: skip

    def row(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"id": "l", "set": "magagent", "block": 16, "input_partial": False,
                "n_calls": len(calls), "calls": list(calls), **more}  # fmt: skip

    calls = [call(64, 0, None, [0, 4]), call(0, 0, None), call(80, 3, 0, [9, 2]), call(64, 4, 2)]
    path = put(tmp_path, "lmcache_agent_text", row(*calls), row(id="p", input_partial=True))
    (run,) = load("lmcache_agent_text", tmp_path).runs
    assert [node.prefix for node in run.nodes] == [
        ((0, 4),), (), ((0, 3), (9, 2)), ((0, 3), (9, 1)),
    ]  # fmt: skip
    assert [node.prompt_tokens for node in run.nodes] == [64, 0, 80, 64]
    assert (run.block_tokens, run.nodes[1].output_tokens) == (16, 0)
    path.unlink()
    put(tmp_path, "lmcache_agent_text", row(call(64, 1, 0, [0, 3])))
    with pytest.raises(TraceError, match=r":1: calls\[0\]: lcp_src 0 is not an earlier call"):
        load("lmcache_agent_text", tmp_path)


def test_mooncake_blocks_are_shared_in_their_namespace_only(tmp_path: Path) -> None:
    def row(service: str, at_ms: int, *blocks: list[int]) -> dict[str, Any]:
        return {"s": service, "t_ms": at_ms, "in": 1500, "out": 9, "h": list(blocks)}

    put(
        tmp_path, "mooncake_fast25",
        row("conversation", 3000, [0, 3]), row("conversation", 0, [0, 1], [7, 2]),
        row("synthetic", 1000, [0, 3]),
    )  # fmt: skip
    trace = load("mooncake_fast25", tmp_path)
    assert [run.arrival_s for run in trace.runs] == [0.0, 1.0, 3.0]
    early, synthetic, late = (run.nodes[0].prefix for run in trace.runs)
    assert (shared(early, late), shared(early, synthetic)) == (1, 0)
    assert all(run.shared_blocks and run.block_tokens == 512 for run in trace.runs)
    assert statistics(trace)["reused_blocks"] == pytest.approx(1 / 9)


def test_reuse_by_hand(tmp_path: Path) -> None:
    put(
        tmp_path,
        WEKA,
        session(request(320, new=[[1, 5]]), request(384, "end", lcp=4, new=[[9, 1]])),
    )
    assert statistics(load(WEKA, tmp_path))["reused_blocks"] == pytest.approx(4 / 10)
