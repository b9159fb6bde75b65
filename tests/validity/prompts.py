"""Prompts as text: exactly the tokens that the runs ask for, sharing exactly the blocks they say.

The emulator counts four characters as a token and hashes what it reads block by block: so a
block of a trace becomes a stretch of text that names its run and its id, and a conversation
repeats itself word by word.
"""

from dataclasses import dataclass

from headway.emulate.answers import CHARS_PER_TOKEN
from headway.sim.plans import WORDS_ABOUT_A_FAILURE
from headway.sim.trace import TraceRun

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePrompt:
    """The prompt of a node's call: of the run named `run`, at `place` of its `body`."""

    run: str
    body: TraceRun
    place: int

    @property
    def tokens(self) -> int:
        """Its size."""
        return self.body.nodes[self.place].prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A question of `prompt_tokens` after `answers` (their tokens) that were told to be wrong."""

    run: str
    prompt_tokens: int
    answers: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Its size."""
        return self.prompt_tokens + sum(self.answers) + len(self.answers) * WORDS_ABOUT_A_FAILURE


Prompt = NodePrompt | Talk

ALOUD = "aloud"
"""The request's `user` where the answer's text will be part of the next prompt."""
LABEL_CHARS = 64
"""A label ends here: behind the chat's own words, within the first block of 16 tokens."""
ANSWER_FRAME = len("assistant\n\n")
USER_FRAME = len("user\n\n")


def messages_of(prompt: Prompt, model: str) -> Messages:
    """The prompt as a chat with `model`."""
    if isinstance(prompt, Talk):
        return conversation(prompt.run, prompt.prompt_tokens, prompt.answers, model)
    return node_prompt(prompt.run, prompt.body, prompt.place, model)


def node_prompt(run: str, body: TraceRun, place: int, model: str) -> Messages:
    """The prompt of a node's call to `model`; `run` is the run's name in its cell."""
    node = body.nodes[place]
    size = body.block_tokens * CHARS_PER_TOKEN
    owner = "" if body.shared_blocks else run
    shared = [
        _labelled(f"{owner}#{block}").ljust(size, ".")
        for first, count in node.prefix
        for block in range(first, first + count)
    ]
    text = "".join((*shared, _labelled(f"{run}/{place}")))
    return [_opening(text, node.prompt_tokens, model)]


def conversation(run: str, prompt_tokens: int, answers: tuple[int, ...], model: str) -> Messages:
    """A question to `model` after `answers` (their tokens) that were told to be wrong."""
    messages = [_opening(_labelled(run), prompt_tokens, model)]
    for tokens in answers:
        answer = said(tokens)
        left = (tokens + WORDS_ABOUT_A_FAILURE) * CHARS_PER_TOKEN - len(answer) - ANSWER_FRAME
        messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": "?" * (left - USER_FRAME)})
    return messages


def said(tokens: int) -> str:
    """The text of an answer of so many tokens, the chat's own words counted."""
    return "!" * (tokens * CHARS_PER_TOKEN - ANSWER_FRAME)


def _opening(text: str, tokens: int, model: str) -> dict[str, str]:
    """The first message: `text`, cut or filled up to a prompt of `tokens` in all.

    Raises `ValueError` if there is no room for a label.
    """
    opening = f"{model}\nuser\n"  # as the emulator renders a chat
    chars = tokens * CHARS_PER_TOKEN
    if chars <= LABEL_CHARS:
        raise ValueError(f"a prompt of {tokens} tokens is too short to be told from others")
    return {"role": "user", "content": text[:chars].ljust(chars, ".")[len(opening) : -1]}


def _labelled(label: str) -> str:
    return label.rjust(LABEL_CHARS, ".")
