"""What the emulated models say here: nothing of sense, in as many tokens as the request allows.

The player asks for exactly the tokens that the trace says, as benchmarks of real servers do
with ``ignore_eos``.
"""

from headway.emulate import Answer, ChatRequest
from tests.validity.prompts import ALOUD, said


class ToTheLimit:
    """Answers that end where ``max_tokens`` says; with a text only for users who want it."""

    def answer(self, request: ChatRequest) -> Answer:
        tokens = request.max_tokens or 1
        return Answer(text=said(tokens) if request.user == ALOUD else "", output_tokens=tokens)
