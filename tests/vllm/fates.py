"""Real servers, emulated skill: what is put around chat models whose weights are random.

A call goes out as it is (LangGraph, LiteLLM, Headway, vLLM: all real). Where a program expects an
answer of a certain form (a category of the support desk, the aspects of a plan), vLLM's structured
outputs make random weights keep to it; other answers are noise of as many tokens as their role
writes. Its worth is drawn by the samples' skill model from the task, the model that answered and
the attempt, and put in the answer's place before the graph sees it.
"""

import json
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult

from headway.emulate.answers import ChatRequest
from headway_samples.answers import answers
from headway_samples.chats import AroundChat
from headway_samples.deep_research.corpus import ASPECTS
from headway_samples.marker import find_marker
from headway_samples.pool import MIDDLE, SKILLS
from headway_samples.sample import ChatFactory
from headway_samples.support_chat.cases import CATEGORIES
from tests.support.direct_chat import spoken

TOKENS_SHARE = 0.1
"""Tokens that are really written, of those that an emulated model would write."""
LEAST_TOKENS = 3


ASPECTS_PLANNED = 3
MOST_FORMED_TOKENS = 200
"""More than any answer of a form needs; one that is cut off would be no answer."""


def form_of(messages: list[BaseMessage]) -> dict[str, Any] | None:
    """What vLLM is told of the answer's form, as ``structured_outputs``; None for free text."""
    marker = find_marker("\n".join(str(message.content) for message in messages))
    if marker is None:
        return None
    if (marker.sample, marker.role) == ("support_chat", "classify"):
        return {"choice": list(CATEGORIES)}
    if (marker.sample, marker.role) == ("deep_research", "plan"):
        aspects = {
            "type": "array",
            "items": {"enum": list(ASPECTS)},
            "minItems": ASPECTS_PLANNED,
            "maxItems": ASPECTS_PLANNED,
        }
        return {
            "json": {
                "type": "object",
                "properties": {"aspects": aspects},
                "required": ["aspects"],
                "additionalProperties": False,
            }
        }
    return None


def check_form(text: str, form: dict[str, Any]) -> None:
    """Raises `ValueError` for an answer that is not of the form that vLLM was told."""
    if "choice" in form:
        if text not in form["choice"]:
            raise ValueError(f"an answer of another form: {text!r} is none of {form['choice']}")
        return
    found = json.loads(text)
    if not (isinstance(found, dict) and set(found["aspects"]) <= set(ASPECTS)):
        raise ValueError(f"an answer of another form: {text!r}")


def request_of(model: str, messages: list[BaseMessage]) -> ChatRequest:
    """The request as the skill model sees it."""
    told: Any = convert_to_openai_messages(messages)
    return ChatRequest(model=model, skill=SKILLS[model], messages=tuple(told))


def length_of(messages: list[BaseMessage]) -> int:
    """Tokens that the answer shall have: which model will write it is not known yet."""
    expected = answers.answer(request_of(MIDDLE, messages)).output_tokens
    return max(LEAST_TOKENS, round(TOKENS_SHARE * expected))


def answered_by(said: Any, told: dict[str, Any] | None) -> str:
    """The model that wrote an answer. LiteLLM's Router names the group that was asked, and which of
    its deployments answered, whose ids are the models' here. Raises `ValueError` if nobody says it.
    """
    metadata = said.response_metadata
    names = (metadata.get("model_id"), metadata.get("model_name"), (told or {}).get("model_name"))
    for name in names:
        model = str(name or "").rpartition("/")[2]
        if model in SKILLS:
            return model
    raise ValueError(f"an answer of no model of the pool: {[name for name in names if name]}")


class Fated(AroundChat):
    """`inner`, with answers of the length and worth that the samples' skill model gives them.

    Tools are told to the server; whether one is called is the skill model's to say.
    """

    inner: Any

    @property
    def _llm_type(self) -> str:
        return "headway-fated"

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        form = form_of(messages)
        if form is None:
            tokens = length_of(messages)
            wanted: dict[str, Any] = {"min_tokens": tokens, "ignore_eos": True}
        else:
            tokens, wanted = MOST_FORMED_TOKENS, {"structured_outputs": form}
        if "tools" in kwargs:
            kwargs["tool_choice"] = "none"  # random weights cannot call one
        result: ChatResult = await self.inner._agenerate(
            messages,
            stop,
            run_manager,
            max_tokens=tokens,
            extra_body=wanted,
            **kwargs,
        )
        said: Any = result.generations[0].message
        if form is not None:
            check_form(said.text, form)
        fate = answers.answer(request_of(answered_by(said, result.llm_output), messages))
        # counts and names are the server's
        message = spoken(
            fate,
            id=said.id,
            response_metadata=said.response_metadata,
            usage_metadata=said.usage_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def fated(chat: ChatFactory) -> ChatFactory:
    """`Fated` around every chat model."""
    return lambda node: Fated(inner=chat(node))
