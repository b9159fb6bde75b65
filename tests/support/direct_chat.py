"""Shared by the tests of the samples: the emulated model without a server in between."""

import json
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool

from headway.emulate.answers import Answer, ChatRequest
from headway_samples.answers import SampleAnswers
from headway_samples.sample import Driven, Graph, Job, Sample

GENIUS, NOVICE = 5.0, -5.0
"""Skills under which every answer is right, or wrong."""


class DirectChat(BaseChatModel):
    """Asks `SampleAnswers` in process; keeps the roles asked for in `log`."""

    skill: float
    model_name: str = "direct"
    log: list[str] = []

    @property
    def _llm_type(self) -> str:
        return "direct"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = ChatRequest(
            model=self.model_name,
            skill=self.skill,
            messages=tuple(convert_to_openai_messages(messages)),
            tools=tuple(kwargs.get("tools", ())),
        )
        said = SampleAnswers().answer(asked)
        return ChatResult(generations=[ChatGeneration(message=spoken(said))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, None, **kwargs)


def spoken(said: Answer, **fields: Any) -> AIMessage:
    """An emulated answer as LangChain's message."""
    calls = [
        {
            "id": f"{fields.get('id') or 'c'}-{place}",
            "name": each.name,
            "args": json.loads(each.arguments),
        }
        for place, each in enumerate(said.tool_calls)
    ]
    return AIMessage(content=said.text, tool_calls=calls, **fields)


def graph_with(sample: Sample, *, skill: float, only: dict[str, float] | None = None) -> Graph:
    """The undecorated graph with models of `skill`; `only` sets it apart for some nodes."""
    chosen = only or {}
    return sample.build(lambda node: DirectChat(skill=chosen.get(node, skill)))


async def no_pause(seconds: float) -> None:
    assert seconds > 0


async def drive(sample: Sample, graph: Graph, task: int, variant: int = 0) -> Driven:
    job = Job(task=task, variant=variant, thread=f"{task}-{variant}")
    return await sample.drive(graph, job, no_pause)
