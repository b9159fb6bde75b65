"""What is put around chat models of random weights: length before, worth after."""

import json
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from headway_samples.code_generation.tasks import tasks
from headway_samples.deep_research.corpus import ASPECTS
from headway_samples.marker import Marker
from headway_samples.pool import LARGE, SMALL
from headway_samples.support_chat.cases import CATEGORIES
from tests.vllm.fates import LEAST_TOKENS, Fated, length_of


class Noise(BaseChatModel):
    """Answers noise under a model's name, and keeps what it was asked."""

    name_told: str = SMALL
    says: str = "xq zz"
    asked: list[dict[str, Any]] = []

    @property
    def _llm_type(self) -> str:
        return "noise"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        self.asked.append(kwargs)
        said = AIMessage(
            content=self.says,
            id="a1",
            response_metadata={"model_name": self.name_told},
            usage_metadata={"input_tokens": 5, "output_tokens": 7, "total_tokens": 12},
        )
        return ChatResult(generations=[ChatGeneration(message=said)])


def prompt(sample: str, role: str, task: int = 0, attempt: int = 1, part: str = "") -> HumanMessage:
    marker = Marker(sample=sample, task=task, variant=0, role=role, attempt=attempt, part=part)
    return HumanMessage(f"do it\n\n{marker}")


class Routed(Noise):
    """As LiteLLM's Router tells it: the group that was asked, and which deployment answered."""

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        result = await super()._agenerate(messages, **kwargs)
        message: Any = result.generations[0].message
        message.response_metadata = {"model_name": "agent", "model_id": self.name_told}
        return result


async def test_a_router_tells_its_deployment_and_nobody_is_an_error() -> None:
    messages: list[BaseMessage] = [prompt("code_generation", "write")]
    assert (await Fated(inner=Routed(name_told=LARGE, asked=[])).ainvoke(messages)).text
    with pytest.raises(ValueError, match="no model of the pool"):
        await Fated(inner=Routed(name_told="another", asked=[])).ainvoke(messages)


@pytest.mark.parametrize("name", [LARGE, f"hosted_vllm/{LARGE}"])
async def test_the_worth_is_that_of_the_model_that_answered(name: str) -> None:
    inner = Noise(name_told=name, asked=[])
    answer = await Fated(inner=inner).ainvoke([prompt("code_generation", "write")])
    code = answer.text.removeprefix("```python\n").removesuffix("```")
    assert code in (tasks()[0].right, *tasks()[0].wrong)
    assert answer.usage_metadata is not None and answer.usage_metadata["output_tokens"] == 7
    assert answer.response_metadata["model_name"] == name


async def test_as_many_tokens_are_asked_for_as_the_role_writes() -> None:
    messages: list[BaseMessage] = [prompt("code_generation", "write")]
    inner = Noise(asked=[])
    await Fated(inner=inner).ainvoke(messages)
    ((asked),) = inner.asked
    tokens = length_of(messages)
    assert asked["max_tokens"] == asked["extra_body"]["min_tokens"] == tokens
    assert 10 < tokens < 200 and asked["extra_body"]["ignore_eos"]
    assert length_of([HumanMessage("no marker")]) >= LEAST_TOKENS


@pytest.mark.parametrize(
    ("sample", "role", "kind", "well", "ill"),
    [
        ("support_chat", "classify", "choice", CATEGORIES[0], "nonsense"),
        ("deep_research", "plan", "json", json.dumps({"aspects": [ASPECTS[0]]}), "[1]"),
    ],
)
async def test_answers_of_a_form_are_asked_for_and_checked(
    sample: str, role: str, kind: str, well: str, ill: str
) -> None:
    messages: list[BaseMessage] = [prompt(sample, role)]
    inner = Noise(says=well, asked=[])
    assert (await Fated(inner=inner).ainvoke(messages)).text
    ((asked),) = inner.asked
    assert list(asked["extra_body"]) == ["structured_outputs"]
    assert list(asked["extra_body"]["structured_outputs"]) == [kind]
    with pytest.raises(ValueError, match="another form"):
        await Fated(inner=Noise(says=ill, asked=[])).ainvoke(messages)


async def test_tools_are_called_as_the_skill_model_says() -> None:
    inner = Noise(asked=[])
    chat = Fated(inner=inner).bind_tools([{"name": "search", "parameters": {}, "description": ""}])
    messages: list[BaseMessage] = [prompt("deep_research", "research", part="founding")]
    answer = await chat.ainvoke(messages)
    (call,) = answer.tool_calls
    assert call["name"] == "search" and "founding" in call["args"]["query"]
    assert inner.asked[0]["tool_choice"] == "none"
    found = ToolMessage("a fact [d1]", tool_call_id=call["id"])
    assert not (await chat.ainvoke([*messages, answer, found])).tool_calls
