"""What real LangGraph graphs of every shape tell: runs, nodes, visits, parents."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, Send

from headway.context import scope
from headway.core.facts import GraphSeen, NodeEnded, NodeStarted, RunEnded, RunStarted
from headway_langgraph import schedule, scheduled
from headway_langgraph.topology import read_topology
from tests.support.fake_client import FakeClient
from tests.support.scheduled import State, assert_clean, shape, starts, using


def say(name: str) -> Any:
    return lambda state: {"x": [name]}


def linear(*names: str) -> StateGraph[Any]:
    graph = StateGraph(State)
    before = START
    for name in names:
        graph.add_node(name, say(name))
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


def diamond() -> StateGraph[Any]:
    graph = StateGraph(State)
    for name in ("a", "b", "c", "c2", "j"):
        graph.add_node(name, say(name))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("a", "c")
    graph.add_edge("c", "c2")
    graph.add_edge(["b", "c2"], "j")
    return graph


def looping(turns: int) -> StateGraph[Any]:
    graph = StateGraph(State)
    graph.add_node("write", say("write"))
    graph.add_node("test", say("test"))
    graph.add_edge(START, "write")
    graph.add_edge("write", "test")

    def decide(state: State) -> str:
        return "again" if state["x"].count("test") < turns else "done"

    graph.add_conditional_edges("test", decide, {"again": "write", "done": END})
    return graph


def fan_out(width: int) -> StateGraph[Any]:
    graph = StateGraph(State)
    graph.add_node("plan", say("plan"))
    graph.add_node("work", say("work"))
    graph.add_node("join", say("join"))
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda s: [Send("work", {}) for _ in range(width)])
    graph.add_edge("work", "join")
    return graph


LINEAR = [">g", "+a#1@1", "-a", "+b#1@2 <- a", "-b", "<g"]


def test_a_line_sync() -> None:
    client = FakeClient()
    with using(client) as installed:
        assert schedule(linear("a", "b").compile(name="g")).invoke({"x": []})["x"] == ["a", "b"]
        assert_clean(installed)
    assert shape(client) == LINEAR


async def test_a_line_async() -> None:
    client = FakeClient()
    with using(client) as installed:
        await schedule(linear("a", "b").compile(name="g")).ainvoke({"x": []})
        assert_clean(installed)
    assert shape(client) == LINEAR


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "debug", "tasks", "custom"])
def test_streaming_modes_tell_the_same(mode: Any) -> None:
    client = FakeClient()
    with using(client):
        list(schedule(linear("a", "b").compile(name="g")).stream({"x": []}, stream_mode=mode))
    assert shape(client) == LINEAR


def test_batch_and_threads_are_runs_apart() -> None:
    client = FakeClient()
    with using(client) as installed:
        graph = schedule(linear("a", "b").compile(name="g"))
        graph.batch([{"x": []}] * 4)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: graph.invoke({"x": []}), range(4)))
        assert_clean(installed)
    runs = client.of(RunStarted)
    assert len({run.run for run in runs}) == len(runs) == 8
    for run in runs:
        own = [f for f in client.of(NodeStarted) if f.run == run.run]
        assert [node.name for node in own] == ["a", "b"]
        assert own[1].parents == (own[0].node,)


async def test_abatch_are_runs_apart() -> None:
    client = FakeClient()
    with using(client) as installed:
        await schedule(linear("a", "b").compile(name="g")).abatch([{"x": []}] * 3)
        assert_clean(installed)
    assert len({run.run for run in client.of(RunStarted)}) == 3
    assert len({node.node for node in client.of(NodeStarted)}) == 6


def test_parents_are_the_step_before() -> None:
    client = FakeClient()
    with using(client):
        schedule(diamond().compile(name="g")).invoke({"x": []})
    found = starts(client)
    assert found[0] == "+a#1@1"
    assert sorted(found[1:3]) == ["+b#1@2 <- a", "+c#1@2 <- a"]
    assert found[3:] == ["+c2#1@3 <- b,c", "+j#1@4 <- c2"]


def test_visits_count_steps_in_a_loop() -> None:
    client = FakeClient()
    with using(client):
        schedule(looping(3).compile(name="g")).invoke({"x": []})
    assert starts(client) == [
        "+write#1@1",
        "+test#1@2 <- write",
        "+write#2@3 <- test",
        "+test#2@4 <- write",
        "+write#3@5 <- test",
        "+test#3@6 <- write",
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_send_is_one_visit_of_many_nodes(is_async: bool) -> None:
    client = FakeClient()
    with using(client):
        graph = schedule(fan_out(3).compile(name="g"))
        if is_async:
            await graph.ainvoke({"x": []})
        else:
            graph.invoke({"x": []})
    assert starts(client) == [
        "+plan#1@1",
        *["+work#1@2 <- plan"] * 3,
        "+join#1@3 <- work,work,work",
    ]
    assert len({node.node for node in client.of(NodeStarted)}) == 5


def test_command_goto() -> None:
    def choose(state: State) -> Command[Literal["b", "c"]]:
        return Command(goto="c", update={"x": ["choose"]})

    graph = StateGraph(State)
    graph.add_node("choose", choose)
    graph.add_node("b", say("b"))
    graph.add_node("c", say("c"))
    graph.add_edge(START, "choose")
    client = FakeClient()
    with using(client):
        schedule(graph.compile(name="g")).invoke({"x": []})
    assert starts(client) == ["+choose#1@1", "+c#1@2 <- choose"]
    (seen,) = client.of(GraphSeen)
    assert ("choose", "b", "command") in seen.edges and ("choose", "c", "command") in seen.edges


@pytest.mark.parametrize("is_async", [False, True])
async def test_sub_graphs_are_child_runs_wherever_they_hide(is_async: bool) -> None:
    inner = linear("s1", "s2").compile(name="inner")

    def hidden(state: State) -> State:
        return {"x": inner.invoke({"x": []})["x"]}

    async def ahidden(state: State) -> State:
        return {"x": (await inner.ainvoke({"x": []}))["x"]}

    graph = StateGraph(State)
    graph.add_node("sub", inner)
    graph.add_node("hidden", ahidden if is_async else hidden)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", "hidden")
    client = FakeClient()
    with using(client) as installed:
        compiled = schedule(graph.compile(name="outer"))
        if is_async:
            await compiled.ainvoke({"x": []})
        else:
            compiled.invoke({"x": []})
        assert_clean(installed)
    child = ["+s1#1@1", "-s1", "+s2#1@2 <- s1", "-s2", "<inner"]
    assert shape(client) == [
        ">outer",
        "+sub#1@1",
        ">inner^sub",
        *child,
        "-sub",
        "+hidden#1@2 <- sub",
        ">inner^hidden",
        *child,
        "-hidden",
        "<outer",
    ]
    outer, *children = client.of(RunStarted)
    assert {run.parent_run for run in children} == {outer.run}


def test_a_scheduled_graph_inside_a_scheduled_graph_counts_once() -> None:
    client = FakeClient()
    with using(client) as installed:
        inner = schedule(linear("s1").compile(name="inner"))
        outer = StateGraph(State)
        outer.add_node("sub", lambda state: inner.invoke({"x": []}))
        outer.add_edge(START, "sub")
        schedule(outer.compile(name="outer")).invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == [
        ">outer",
        "+sub#1@1",
        ">inner^sub",
        "+s1#1@1",
        "-s1",
        "<inner",
        "-sub",
        "<outer",
    ]


def test_a_scheduled_graph_inside_an_unscheduled_one_is_a_root() -> None:
    client = FakeClient()
    with using(client) as installed:
        inner = schedule(linear("s1").compile(name="inner"))
        outer = StateGraph(State)
        outer.add_node("sub", lambda state: inner.invoke({"x": []}))
        outer.add_edge(START, "sub")
        outer.compile(name="outer").invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == [">inner", "+s1#1@1", "-s1", "<inner"]


def test_chains_tools_and_branch_functions_are_not_nodes() -> None:
    from langchain_core.tools import tool

    @tool
    def look_up(word: str) -> str:
        """Look up a word."""
        return word

    chain = RunnableLambda(lambda x: x) | RunnableLambda(lambda x: x)

    def node(state: State) -> State:
        chain.invoke("x")
        look_up.invoke({"word": "w"})
        return {"x": ["n"]}

    graph = StateGraph(State)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    graph.add_conditional_edges("n", lambda state: END)
    client = FakeClient()
    with using(client) as installed:
        schedule(graph.compile(name="g")).invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == [">g", "+n#1@1", "-n", "<g"]


def test_functional_api_tasks_come_in_batches() -> None:
    both = threading.Barrier(2, timeout=10)

    @task
    def one(x: int) -> int:
        both.wait()
        return x + 1

    @task
    def two(x: int) -> int:
        return x * 2

    @entrypoint()
    def flow(x: int) -> int:
        first = [one(x), one(x)]
        return two(sum(f.result() for f in first)).result()

    client = FakeClient()
    with using(client) as installed:
        assert schedule(flow).invoke(1) == 8
        assert_clean(installed)
    found = starts(client)
    assert found[0].startswith("+flow#1@")
    assert [line.split("@")[0] for line in found] == ["+flow#1", "+one#1", "+one#1", "+two#1"]
    two_started = next(n for n in client.of(NodeStarted) if n.name == "two")
    ones = [n.node for n in client.of(NodeStarted) if n.name == "one"]
    assert set(two_started.parents) <= set(ones) and two_started.parents
    (seen,) = client.of(GraphSeen)
    assert seen.nodes == ("flow",)
    assert seen.edges == ()


def test_cached_nodes_have_no_callbacks_and_break_nothing() -> None:
    graph = StateGraph(State)
    graph.add_node("c", say("c"), cache_policy=CachePolicy())
    graph.add_node("d", say("d"))
    graph.add_edge(START, "c")
    graph.add_edge("c", "d")
    client = FakeClient()
    with using(client) as installed:
        compiled = schedule(graph.compile(name="g", cache=InMemoryCache()))
        compiled.invoke({"x": []})
        client.clear()
        compiled.invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == [">g", "+d#1@2", "-d", "<g"]


async def test_scope_reaches_the_node_and_leaves_with_it() -> None:
    found = []

    def sync_node(state: State) -> State:
        found.append(scope.get())
        return {}

    async def async_node(state: State) -> State:
        await asyncio.sleep(0)
        found.append(scope.get())
        return {}

    client = FakeClient()
    for node in (sync_node, async_node):
        graph = StateGraph(State)
        graph.add_node("n", node)
        graph.add_edge(START, "n")
        with using(client) as installed:
            compiled = schedule(graph.compile(name="g"))
            if node is sync_node:
                compiled.invoke({"x": []})
                assert scope.get() is None
            await compiled.ainvoke({"x": []})
            # LangGraph reports an asynchronous end from another context, so it may be left here.
            left = scope.get()
            assert left is None or not installed.tracker.is_live(left)
    assert len(found) == 3
    for here in found:
        assert here is not None
        assert (here.graph, here.node_name, here.visit, here.step) == ("g", "n", 1, 1)


def test_topology_is_complete_and_told_once() -> None:
    graph = fan_out(2)
    graph.add_node("late", say("late"), defer=True)
    graph.add_edge("join", "late")
    compiled = graph.compile(name="g")
    client = FakeClient()
    with using(client):
        schedule(compiled)
        assert client.facts == []
        compiled.invoke({"x": []})
        compiled.invoke({"x": []})
    (seen,) = client.of(GraphSeen)
    assert seen.nodes == ("join", "late", "plan", "work")
    assert seen.edges == (
        ("__start__", "plan", "edge"),
        ("join", "late", "edge"),
        ("plan", "*", "branch"),
        ("work", "join", "edge"),
    )
    assert read_topology(compiled).deferred == ("late",)
    mapped = read_topology(looping(1).compile(name="l")).seen.edges
    assert ("test", "write", "branch") in mapped and ("test", END, "branch") in mapped
    joined = read_topology(diamond().compile(name="d")).seen.edges
    assert ("b", "j", "join") in joined and ("c2", "j", "join") in joined


def test_destinations_of_a_command_node_given_as_labels() -> None:
    graph = StateGraph(State)
    graph.add_node("a", lambda state: Command(goto="b"), destinations={"b": "go on"})
    graph.add_node("b", say("b"))
    graph.add_edge(START, "a")
    assert ("a", "b", "command") in read_topology(graph.compile(name="g")).seen.edges


def test_a_builder_schedules_what_it_compiles_later() -> None:
    client = FakeClient()
    with using(client):
        builder = linear("a", "b")
        assert schedule(schedule(builder)) is builder
        builder.compile(name="g").invoke({"x": []})
    assert shape(client) == LINEAR
    client.clear()
    builder.compile(name="g").invoke({"x": []})
    assert client.facts == []


async def test_the_decorator() -> None:
    client = FakeClient()
    with using(client):

        @scheduled
        def build(name: str) -> Any:
            return linear("a", "b").compile(name=name)

        @scheduled
        async def abuild() -> Any:
            return linear("a", "b").compile(name="g")

        build("g").invoke({"x": []})
        assert shape(client) == LINEAR
        client.clear()
        await (await abuild()).ainvoke({"x": []})
        assert shape(client) == LINEAR
    assert build.__name__ == "build"


def test_metadata_sets_a_runs_wishes_and_a_nodes_pins() -> None:
    found = {}

    def node(state: State) -> State:
        here = scope.get()
        assert here is not None
        found[here.node_name] = here
        return {}

    graph = StateGraph(State)
    graph.add_node("free", node)
    graph.add_node("pinned", node, metadata={"headway_models": ["m2", "m9"]})
    graph.add_node("off", node, metadata={"headway_off": True})
    graph.add_edge(START, "free")
    graph.add_edge("free", "pinned")
    graph.add_edge("pinned", "off")
    client = FakeClient()
    wishes = {
        "headway_deadline_s": 30,
        "headway_class": "interactive",
        "headway_tenant": "acme",
        "headway_tags": "x, y",
        "headway_models": "m1,m2",
        "headway_budget": 2.5,
    }
    with using(client):
        schedule(graph.compile(name="g")).invoke({"x": []}, {"metadata": wishes})
    (run,) = client.of(RunStarted)
    assert (run.deadline_s, run.service_class, run.tenant) == (30.0, "interactive", "acme")
    assert (run.tags, run.models, run.budget) == (("x", "y"), ("m1", "m2"), 2.5)
    assert found["free"].models == ("m1", "m2") and not found["free"].off
    assert found["pinned"].models == ("m2",)
    assert found["off"].off and found["off"].deadline_s == 30.0


@pytest.mark.parametrize("how", ["metadata", "client"])
def test_a_run_that_is_off_tells_nothing(how: str) -> None:
    client = FakeClient(off=how == "client")
    with using(client) as installed:
        graph = schedule(linear("a").compile(name="g"))
        graph.invoke({"x": []}, {"metadata": {"headway_off": True}} if how == "metadata" else {})
        assert_clean(installed)
    assert client.facts == []


def test_a_run_name_does_not_rename_the_graph() -> None:
    client = FakeClient()
    with using(client):
        schedule(linear("a").compile(name="g")).invoke({"x": []}, {"run_name": "for user 7"})
    assert [run.graph for run in client.of(RunStarted)] == ["g"]


def test_ends_match_starts() -> None:
    client = FakeClient()
    with using(client):
        schedule(fan_out(5).compile(name="g")).invoke({"x": []})
    assert sorted(f.node for f in client.of(NodeStarted)) == sorted(
        f.node for f in client.of(NodeEnded)
    )
    assert len(client.of(RunEnded)) == 1
