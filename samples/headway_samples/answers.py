"""What the emulated pool answers to the samples: `headway emulate` loads `answers` from here.

Prompts without a marker (a user's own experiment against the sample pool) get
the emulator's default answers.
"""

from collections.abc import Callable

from headway.emulate.answers import Answer, ChatRequest, FillerAnswers, text_of
from headway_samples.code_generation import emulated as code_generation
from headway_samples.deep_research import emulated as deep_research
from headway_samples.luck import Luck
from headway_samples.marker import find_marker
from headway_samples.support_chat import emulated as support_chat

_BY_SAMPLE: dict[str, Callable[[Luck], Answer]] = {
    "code_generation": code_generation.answer,
    "deep_research": deep_research.answer,
    "support_chat": support_chat.answer,
}


class SampleAnswers:
    """Answers by the marker in the prompt; the sample's own `emulated` module knows how."""

    def __init__(self) -> None:
        self._filler = FillerAnswers()

    def answer(self, request: ChatRequest) -> Answer:
        """The emulated model's answer to one of the samples' prompts."""
        prompt = "\n".join(text_of(message) for message in request.messages)
        marker = find_marker(prompt)
        if marker is None or marker.sample not in _BY_SAMPLE:
            return self._filler.answer(request)
        return _BY_SAMPLE[marker.sample](Luck(request=request, marker=marker))


answers = SampleAnswers()
