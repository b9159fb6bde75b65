"""What the emulated models say here: nothing, in as many tokens as the request allows.

The player asks for exactly the tokens that the trace says, as benchmarks of real servers do
with ``ignore_eos``.
"""

from headway.emulate import Answer, ChatRequest


class ToTheLimit:
    """Answers that end where ``max_tokens`` says."""

    def answer(self, request: ChatRequest) -> Answer:
        return Answer(text="", output_tokens=request.max_tokens or 1)
