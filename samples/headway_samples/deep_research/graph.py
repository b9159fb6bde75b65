"""Plan, research in parallel, join, write, check: a LangGraph program with Send and a loop.

The planner splits the question; each researcher is a small loop of its own
around a search tool; the checker sends the report back to the writer at most
twice. `build` is the graph; `build_scheduled` is the same under Headway.
"""

import operator
import re
from typing import Annotated, Any, Literal, Protocol, TypedDict

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from headway_langgraph import scheduled
from headway_samples.deep_research import corpus
from headway_samples.deep_research.check import complaints
from headway_samples.marker import Marker
from headway_samples.sample import ChatFactory, Graph, Sample, drive_once

NAME = "deep_research"
REVISIONS = 2
TOOL_ROUNDS = 3
_PLANNED = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)

_PLANNER = SystemMessage(
    "You plan research. Answer with one line for each aspect that the question names: "
    "'- aspect: what to look up'."
)
_RESEARCHER = SystemMessage(
    "You research one aspect. Look it up with the search tool, then answer with one sentence "
    "that states the fact, and the id of its source in square brackets."
)
_WRITER = SystemMessage(
    "You write the report from the findings: for each aspect a section '## aspect' that states "
    "the fact and cites its source in square brackets, with a short introduction and conclusion."
)


@tool
def search(query: str) -> str:
    """Search the library; answers with up to three documents and their ids."""
    found = corpus.search(query)
    return "\n".join(f"{each.text} [{each.id}]" for each in found) or "nothing found"


class State(TypedDict, total=False):
    """`task` and `variant` come in; `report`, `solved` and `drafts` tell how it went."""

    task: int
    variant: int
    plan: list[tuple[str, str]]
    findings: Annotated[list[tuple[str, str]], operator.add]
    notes: str
    report: str
    complaints: tuple[str, ...]
    drafts: int
    solved: bool


class Errand(TypedDict):
    """What one researcher is sent out with."""

    task: int
    variant: int
    aspect: str
    question: str


def _prompt(
    system: SystemMessage, state: State | Errand, text: str, **marker: Any
) -> list[BaseMessage]:
    mark = Marker(sample=NAME, task=state["task"], variant=state["variant"], **marker)
    return [system, HumanMessage(f"{text}\n\n{mark}")]


class Node(Protocol):
    """A node of the graph."""

    async def __call__(self, state: State) -> dict[str, Any]:
        """What it changes of the state."""


class ErrandNode(Protocol):
    """A node that `Send` gives a state of its own."""

    async def __call__(self, state: Errand) -> dict[str, Any]:
        """What it changes of the state."""


def _planner_node(chat: ChatFactory) -> Node:
    planner = chat("planner")

    async def plan_research(state: State) -> dict[str, Any]:
        topic = corpus.topics()[state["task"]]
        answer = await planner.ainvoke(_prompt(_PLANNER, state, topic.question, role="plan"))
        asked = _PLANNED.findall(answer.text) or [(aspect, aspect) for aspect in topic.aspects]
        return {"plan": list(dict(asked).items())}

    return plan_research


def _researcher_node(chat: ChatFactory) -> ErrandNode:
    """One aspect: a loop around the search tool, until the model has no more to look up."""
    model = chat("researcher").bind_tools([search])

    async def researcher(state: Errand) -> dict[str, Any]:
        messages = _prompt(
            _RESEARCHER, state, state["question"], role="research", part=state["aspect"]
        )
        for _ in range(TOOL_ROUNDS):
            answer = await model.ainvoke(messages)
            if not answer.tool_calls:
                break
            messages.append(answer)
            for call in answer.tool_calls:
                found = search.invoke(call["args"])
                messages.append(ToolMessage(found, tool_call_id=call["id"]))
        return {"findings": [(state["aspect"], answer.text)]}

    return researcher


def _writer_node(chat: ChatFactory) -> Node:
    writer = chat("writer")

    async def write_report(state: State) -> dict[str, Any]:
        drafts = state.get("drafts", 0) + 1
        text = f"{corpus.topics()[state['task']].question}\n\nFindings:\n{state['notes']}"
        if drafts > 1:
            wrong = "\n".join(f"- {each}" for each in state["complaints"])
            text += f"\n\nThis draft was sent back:\n{state['report']}\n\nComplaints:\n{wrong}"
        answer = await writer.ainvoke(_prompt(_WRITER, state, text, role="report", attempt=drafts))
        return {"report": answer.text, "drafts": drafts}

    return write_report


def fan_out(state: State) -> list[Send]:
    """A researcher for each aspect of the plan."""
    errand = {"task": state["task"], "variant": state["variant"]}
    return [
        Send("researcher", {**errand, "aspect": aspect, "question": question})
        for aspect, question in state["plan"]
    ]


def join(state: State) -> dict[str, Any]:
    """The findings as notes for the writer, in an order that does not depend on who was first."""
    lines = (f"- {aspect}: {finding}" for aspect, finding in sorted(state["findings"]))
    return {"notes": "\n".join(lines)}


def check(state: State) -> dict[str, Any]:
    """Every section there, every cited fact right?"""
    found = complaints(state["report"], corpus.topics()[state["task"]])
    return {"complaints": found, "solved": not found}


def after_check(state: State) -> Literal["writer", "__end__"]:
    """Back to the writer, at most `REVISIONS` times."""
    done = state["solved"] or state["drafts"] > REVISIONS
    return "__end__" if done else "writer"


def build(chat: ChatFactory) -> Graph:
    """The graph, with the chat model of each node from `chat`."""
    builder = StateGraph(State)
    builder.add_node("planner", _planner_node(chat))
    builder.add_node("researcher", _researcher_node(chat), input_schema=Errand)
    builder.add_node("join", join)
    builder.add_node("writer", _writer_node(chat))
    builder.add_node("check", check)
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", fan_out, ["researcher"])
    builder.add_edge("researcher", "join")
    builder.add_edge("join", "writer")
    builder.add_edge("writer", "check")
    builder.add_conditional_edges("check", after_check)
    return builder.compile(name=NAME)


@scheduled
def build_scheduled(chat: ChatFactory) -> Graph:
    """The same graph under Headway: the decorator is the whole difference."""
    return build(chat)


SAMPLE = Sample(
    name=NAME,
    service_class="batch",
    tasks=len(corpus.topics()),
    build=build,
    build_scheduled=build_scheduled,
    drive=drive_once,
)
