"""Installing once, twice and not at all; what is imported; and hooks that break."""

import copy
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from headway.calling.guard import complaints
from headway.core.facts import RunStarted
from headway_langgraph import schedule
from headway_langgraph.handler import HeadwayHandler
from headway_langgraph.tracker import Tracker
from tests.support.fake_client import FakeClient
from tests.support.scheduled import State, assert_clean, shape, using

ALLOWED = ("headway", "headway_langgraph", "msgspec")
"""What `import headway_langgraph` may bring beyond the standard library and langgraph.graph."""


def graph_of(node: Any = lambda state: {"x": ["n"]}, **compile_args: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    return graph.compile(name="g", **compile_args)


ONE = [">g", "+n#1@1", "-n", "<g"]


def test_twice_is_once() -> None:
    client = FakeClient()
    with using(client) as installed:
        graph = schedule(schedule(graph_of()))
        assert len(graph.config["callbacks"]) == 1
        graph.invoke({"x": []}, {"callbacks": [HeadwayHandler(installed.tracker, "other")]})
        graph.with_config(callbacks=graph.config["callbacks"]).invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == ONE * 2


class Other(BaseCallbackHandler):
    """Somebody else's."""


@pytest.mark.parametrize("as_manager", [False, True])
def test_callbacks_of_others_stay(as_manager: bool) -> None:
    other = Other()
    given: Any = CallbackManager([other]) if as_manager else [other]
    client = FakeClient()
    with using(client):
        graph = graph_of()
        graph.config = {"callbacks": given, "tags": ["mine"]}
        schedule(graph)
        graph.invoke({"x": []})
        assert graph.config["tags"] == ["mine"]
    assert shape(client) == ONE
    assert (given.handlers if as_manager else given) == [other]
    left = graph.config["callbacks"]
    assert (left.handlers if as_manager else left) == [other]


def test_uninstall_takes_the_handler_out() -> None:
    client = FakeClient()
    graph = graph_of()
    before = graph.config
    with using(client):
        schedule(graph)
    graph.invoke({"x": []})
    assert client.facts == []
    assert graph.config == before


def test_copies_of_a_graph() -> None:
    client = FakeClient()
    with using(client):
        graph = schedule(graph_of())
        shallow = graph.with_config(tags=["copy"])
        shallow.invoke({"x": []})
        assert shape(client) == ONE
        (handler,) = graph.config["callbacks"]
        for copied in (copy.deepcopy(handler), pickle.loads(pickle.dumps(handler))):
            assert copied == handler and copied.graph == "g"
            graph.config = {"callbacks": [copied]}
            graph.invoke({"x": []})
        assert shape(client) == ONE * 3
        client.clear()
    shallow.invoke({"x": []})
    assert client.facts == []


def test_schedule_says_what_it_takes() -> None:
    with using(FakeClient()), pytest.raises(TypeError, match="compiled LangGraph graph"):
        schedule(graph_of().with_retry())


HOOKS = [
    "on_chain_start",
    "on_chain_end",
    "on_chain_error",
    "on_chat_model_start",
    "on_llm_start",
    "on_llm_end",
    "on_llm_error",
    "on_tool_start",
    "on_tool_end",
    "on_tool_error",
    "on_interrupt",
    "on_resume",
]


def test_every_hook_is_in_the_list_below() -> None:
    own = {name for name in vars(HeadwayHandler) if name.startswith("on_")}
    assert own == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_no_hook_raises(hook: str) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("ours")

    handler = HeadwayHandler(Broken(), "g")  # type: ignore[arg-type]
    complaints.counts.clear()
    args: list[Any] = [None] if hook.endswith(("_end", "_error", "interrupt", "resume")) else []
    if not args:
        args = [None, None]
    keywords: Any = {} if hook in ("on_interrupt", "on_resume") else {"run_id": None}
    for _ in range(2):
        getattr(handler, hook)(*args, **keywords)
    assert complaints.counts == {hook: 2}
    assert handler.ignore_agent
    complaints.counts.clear()


NOT_OF_A_RUN = ("forked", "is_live")
"""What LangGraph does not call: the first is tested with a fork, the second with requests."""


@pytest.mark.parametrize(
    "method",
    [name for name in vars(Tracker) if callable(vars(Tracker)[name]) and name != "__init__"],
)
async def test_whatever_breaks_the_graph_goes_on(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    model = FakeListChatModel(responses=["yes"])
    failed: set[str] = set()

    def node(state: State, config: RunnableConfig) -> State:
        thread = config["configurable"]["thread_id"]
        if thread not in failed:
            failed.add(thread)
            raise ValueError("once")
        return {"x": [model.invoke("hi").content, interrupt("may I?")]}

    once_more = RetryPolicy(
        initial_interval=0.001, jitter=False, max_attempts=2, retry_on=ValueError
    )
    graph = StateGraph(State)
    graph.add_node("n", node, retry_policy=once_more)
    graph.add_edge(START, "n")
    inner = graph.compile(name="g")
    with using(FakeClient()) as installed:
        monkeypatch.setattr(Tracker, method, boom)
        graph = StateGraph(State)
        graph.add_node("sub", inner)
        graph.add_edge(START, "sub")
        compiled = schedule(graph.compile(checkpointer=InMemorySaver()))
        for thread in ("sync", "async"):
            config: Any = {"configurable": {"thread_id": thread}}
            if thread == "sync":
                compiled.invoke({"x": []}, config)
                result = compiled.invoke(Command(resume="ok"), config)
            else:
                await compiled.ainvoke({"x": []}, config)
                result = await compiled.ainvoke(Command(resume="ok"), config)
            assert result["x"] == ["yes", "ok"]
        monkeypatch.undo()
        assert method in NOT_OF_A_RUN or complaints.counts, "the hook was never reached"
        complaints.counts.clear()
        installed.uninstall()


def test_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints.counts.clear()
    for _ in range(3):
        complaints.add("some hook", ValueError("ours"))
    assert len([r for r in caplog.records if "some hook" in r.getMessage()]) == 1
    assert complaints.counts == {"some hook": 3}
    complaints.counts.clear()


def python(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_the_import_brings_nothing_heavy() -> None:
    found = python(
        "import sys, json, langgraph.graph\n"
        "before = set(sys.modules)\n"
        "import headway_langgraph\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    foreign = [
        name
        for name in found
        if name.split(".")[0] not in (*ALLOWED, *sys.stdlib_module_names)
        and not name.startswith("_")
    ]
    assert foreign == []
    for heavy in ("openai", "litellm", "langchain_openai", "headway.daemon", "headway.policy"):
        assert heavy not in found


@pytest.mark.parametrize("order", ["before", "after", "never"])
def test_the_sdk_is_patched_whenever_it_is_imported(order: str) -> None:
    schedule_it = (
        "from langgraph.graph import StateGraph, START\n"
        "from headway_langgraph import schedule, uninstall, installation\n"
        "g = StateGraph(dict); g.add_node('n', lambda s: s); g.add_edge(START, 'n')\n"
        "schedule(g.compile())\n"
    )
    sdk = "import openai\n" if order != "never" else ""
    code = (
        "import sys, json\n"
        + (sdk + schedule_it if order == "before" else schedule_it + sdk)
        + "waits = [type(f).__name__ for f in sys.meta_path if 'headway' in type(f).__module__]\n"
        "patched = installation._installation.patch.installed\n"
        "uninstall()\n"
        "left = [f for f in sys.meta_path if 'headway' in type(f).__module__]\n"
        "print(json.dumps([patched, waits, len(left), 'openai' in sys.modules,"
        " installation._installation.patch.installed]))"
    )
    patched, waits, left, imported, still = python(code)
    assert patched == imported == (order != "never")
    assert waits == (["PostImport"] if order == "never" else [])
    assert left == 0 and not still


def test_a_builder_scheduled_by_name_only_runs_once_per_invocation() -> None:
    client = FakeClient()
    with using(client):
        graph = schedule(graph_of())
        for _ in range(3):
            graph.invoke({"x": []})
    assert len(client.of(RunStarted)) == 3
