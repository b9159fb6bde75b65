"""Write a function, run its unit tests for real, repair it: up to four attempts.

``write -> run_tests -> repair -> run_tests -> ...``: an ordinary LangGraph
program. `build` is the graph; `build_scheduled` is the same under Headway.
"""

import re
from typing import Any, Literal, TypedDict

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langgraph.graph import START, StateGraph

from headway_langgraph import scheduled
from headway_samples.code_generation.sandbox import run_tests as run_in_sandbox
from headway_samples.code_generation.tasks import tasks
from headway_samples.marker import Marker
from headway_samples.sample import ChatFactory, Graph, Sample, drive_once

NAME = "code_generation"
ATTEMPTS = 4
_SYSTEM = SystemMessage(
    "You are a careful Python programmer. Answer with one fenced block of Python code "
    "that defines the function asked for, and nothing else. Use the standard library only."
)
_FENCED = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)


class State(TypedDict, total=False):
    """`task` and `variant` come in; `solved` and `attempt` tell how it went."""

    task: int
    variant: int
    code: str
    attempt: int
    output: str
    solved: bool


def code_of(message: BaseMessage) -> str:
    """The fenced code of an answer, or all of it if nothing is fenced."""
    text = message.text
    found = _FENCED.search(text)
    return found[1] if found else text


def build(chat: ChatFactory) -> Graph:
    """The graph, with the chat model of each node from `chat`."""
    writer, repairer = chat("write"), chat("repair")

    def prompt(state: State, role: str, attempt: int, text: str) -> list[BaseMessage]:
        marker = Marker(
            sample=NAME, task=state["task"], variant=state["variant"], role=role, attempt=attempt
        )
        return [_SYSTEM, HumanMessage(f"{text}\n\n{marker}")]

    async def write(state: State) -> dict[str, Any]:
        answer = await writer.ainvoke(prompt(state, "write", 1, tasks()[state["task"]].says))
        return {"code": code_of(answer), "attempt": 1}

    async def run_tests(state: State) -> dict[str, Any]:
        verdict = await run_in_sandbox(state["code"], tasks()[state["task"]].tests)
        return {"solved": verdict.passed, "output": verdict.output}

    async def repair(state: State) -> dict[str, Any]:
        attempt = state["attempt"] + 1
        text = (
            f"{tasks()[state['task']].says}\n\nThis attempt fails its unit tests:\n"
            f"```python\n{state['code']}```\nThe tests say:\n{state['output']}\nRepair it."
        )
        answer = await repairer.ainvoke(prompt(state, "repair", attempt, text))
        return {"code": code_of(answer), "attempt": attempt}

    def after_tests(state: State) -> Literal["repair", "__end__"]:
        done = state["solved"] or state["attempt"] >= ATTEMPTS
        return "__end__" if done else "repair"

    builder = StateGraph(State)
    builder.add_node(write)
    builder.add_node(run_tests)
    builder.add_node(repair)
    builder.add_edge(START, "write")
    builder.add_edge("write", "run_tests")
    builder.add_conditional_edges("run_tests", after_tests)
    builder.add_edge("repair", "run_tests")
    return builder.compile(name=NAME)


@scheduled
def build_scheduled(chat: ChatFactory) -> Graph:
    """The same graph under Headway: the decorator is the whole difference."""
    return build(chat)


SAMPLE = Sample(
    name=NAME,
    service_class="batch",
    tasks=len(tasks()),
    build=build,
    build_scheduled=build_scheduled,
    drive=drive_once,
)
