"""Classify, answer (with a look into the order book), pause for the person: a support chat.

The graph stops at an interrupt until the person has said whether the answer
helped; an unhappy person gets another answer, three in all. What the person
said is told to Headway as feedback. `build` is the graph; `build_scheduled`
is the same under Headway.
"""

import random
from typing import Any, Literal, TypedDict

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

import headway
from headway_langgraph import scheduled
from headway_samples.marker import Marker
from headway_samples.sample import ChatFactory, Driven, Graph, Job, Pause, Sample, Stopwatch
from headway_samples.support_chat import cases

NAME = "support_chat"
ROUNDS = 3
TOOL_ROUNDS = 2
PERSON_S = (4.0, 16.0)
"""How long a person takes to answer, in seconds: shortest and longest."""

_CLASSIFIER = SystemMessage(
    f"Answer with the category of the customer's matter, one of: {', '.join(cases.CATEGORIES)}."
)
_ANSWERER = SystemMessage(
    "You answer customers from the handbook. Look up an order that the customer names; say what "
    "the order book says and what the handbook says, word for word, in a friendly tone."
)


@tool
def look_up_order(order: str) -> str:
    """What the order book says of an order, for example A1037."""
    return cases.order_book(order)


class State(TypedDict, total=False):
    """`task` and `variant` come in; `solved` and `round` tell how it went."""

    task: int
    variant: int
    category: str
    answer: str
    history: str
    round: int
    solved: bool


def _prompt(system: SystemMessage, state: State, text: str, **marker: Any) -> list[BaseMessage]:
    mark = Marker(sample=NAME, task=state["task"], variant=state["variant"], **marker)
    return [system, HumanMessage(f"{text}\n\n{mark}")]


def build(chat: ChatFactory) -> Graph:
    """The graph, with the chat model of each node from `chat`, and a checkpointer in memory."""
    classifier = chat("classify")
    answerer = chat("answer").bind_tools([look_up_order])

    async def classify(state: State) -> dict[str, Any]:
        says = cases.cases()[state["task"]].says
        found = await classifier.ainvoke(_prompt(_CLASSIFIER, state, says, role="classify"))
        return {"category": found.text.strip().lower()}

    async def answer(state: State) -> dict[str, Any]:
        number = state.get("round", 0) + 1
        # After a first failure the category itself is in doubt.
        category = state["category"] if number == 1 else "all"
        text = (
            f"Customer: {cases.cases()[state['task']].says}\n{state.get('history', '')}\n"
            f"Handbook ({category}):\n{cases.handbook_of(category)}"
        )
        messages = _prompt(_ANSWERER, state, text, role="answer", attempt=number)
        for _ in range(TOOL_ROUNDS):
            said = await answerer.ainvoke(messages)
            if not said.tool_calls:
                break
            messages.append(said)
            for call in said.tool_calls:
                found = look_up_order.invoke(call["args"])
                messages.append(ToolMessage(found, tool_call_id=call["id"]))
        return {"answer": said.text, "round": number}

    async def ask_person(state: State) -> dict[str, Any]:
        reply = interrupt({"answer": state["answer"]})
        solved = bool(reply["solved"])
        headway.feedback(solved)
        history = f"{state.get('history', '')}Us: {state['answer']}\nCustomer: {reply['says']}\n"
        return {"solved": solved, "history": history}

    def after_person(state: State) -> Literal["answer", "__end__"]:
        done = state["solved"] or state["round"] >= ROUNDS
        return "__end__" if done else "answer"

    builder = StateGraph(State)
    builder.add_node(classify)
    builder.add_node(answer)
    builder.add_node(ask_person)
    builder.add_edge(START, "classify")
    builder.add_edge("classify", "answer")
    builder.add_edge("answer", "ask_person")
    builder.add_conditional_edges("ask_person", after_person)
    return builder.compile(name=NAME, checkpointer=InMemorySaver())


@scheduled
def build_scheduled(chat: ChatFactory) -> Graph:
    """The same graph under Headway: the decorator is the whole difference."""
    return build(chat)


async def drive(graph: Graph, job: Job, pause: Pause) -> Driven:
    """Drive one chat with a simulated customer, who is happy exactly with a right answer.

    The time of the person's pauses is not counted.
    """
    case = cases.cases()[job.task]
    person = random.Random(f"{job.task}:{job.variant}")
    watch = Stopwatch()
    given: Any = {"task": job.task, "variant": job.variant}
    while True:
        with watch:
            state = await graph.ainvoke(given, job.config())
        if "__interrupt__" not in state:
            return Driven(solved=state["solved"], busy_s=watch.elapsed_s, state=state)
        await pause(person.uniform(*PERSON_S))
        solved = cases.is_right(case, state["answer"])
        says = "Thank you, that solved it." if solved else "No, that is not it."
        given = Command(resume={"solved": solved, "says": says})


SAMPLE = Sample(
    name=NAME,
    service_class="interactive",
    tasks=len(cases.cases()),
    build=build,
    build_scheduled=build_scheduled,
    drive=drive,
)
