"""Prompts as text: exactly the tokens of a trace's node, sharing exactly the blocks it says.

The emulator counts four characters as a token and hashes the text block by block, so a block
of the trace becomes a stretch of text that names its run and its id, and nothing else does.
"""

from headway.emulate.answers import CHARS_PER_TOKEN
from headway.sim.trace import TraceNode, TraceRun

LABEL_CHARS = 64
"""The label ends here: behind the chat's own words, within the first block of 16 tokens."""
LEAST_CHARS = 64


def prompt(run: str, body: TraceRun, place: int, model: str) -> str:
    """The one user message of a node's call to `model`, under the run's name in its cell.

    Raises `ValueError` for a prompt too short to hold its label.
    """
    node = body.nodes[place]
    opening, closing = f"{model}\nuser\n", "\n"  # as the emulator renders a chat
    chars = node.prompt_tokens * CHARS_PER_TOKEN
    if chars < len(opening) + LEAST_CHARS:
        raise ValueError(f"{run}/{place}: a prompt of {node.prompt_tokens} tokens is too short")
    text = _text(run, body, node, place)[:chars].ljust(chars, ".")
    return text[len(opening) : -len(closing)]


def _text(run: str, body: TraceRun, node: TraceNode, place: int) -> str:
    size = body.block_tokens * CHARS_PER_TOKEN
    owner = "" if body.shared_blocks else run
    shared = [
        _labelled(f"{owner}#{block}").ljust(size, ".")
        for first, count in node.prefix
        for block in range(first, first + count)
    ]
    return "".join((*shared, _labelled(f"{run}/{place}")))


def _labelled(label: str) -> str:
    return label.rjust(LABEL_CHARS, ".")
