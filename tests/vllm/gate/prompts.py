"""Prompts as token ids: exactly the tokens that a run asks for, sharing exactly its blocks.

A block of the trace becomes ids that are drawn from its name; answers are all the same token
(`ANSWER`, which servers are told to write and nothing else), so a conversation repeats itself.
"""

from functools import lru_cache
from hashlib import blake2b

from headway.sim.plans import WORDS_ABOUT_A_FAILURE
from tests.validity.prompts import NodePrompt, Prompt, Talk
from tests.validity.ways import Request, Wanted

FIRST, COUNT = 300, 4096
"""The ids that prompts are made of: words of the tiny model, no special tokens."""
ANSWER = 5000


def ids_of(prompt: Prompt) -> list[int]:
    """The whole prompt."""
    if isinstance(prompt, Talk):
        return _conversation(prompt)
    return _node(prompt)


def completion(model: str, want: Wanted, limit: int) -> Request:
    """A request that writes `ANSWER` as often as is wanted, within the limit."""
    tokens = max(1, min(want.tokens, limit))
    body = {
        "model": model,
        "prompt": ids_of(want.prompt),
        "max_tokens": tokens,
        "min_tokens": tokens,
        "ignore_eos": True,
        "allowed_token_ids": [ANSWER],
    }
    return Request(path="completions", body=body)


def _node(prompt: NodePrompt) -> list[int]:
    body = prompt.body
    node = body.nodes[prompt.place]
    owner = "" if body.shared_blocks else prompt.run
    ids: list[int] = []
    for first, count in node.prefix:
        for block in range(first, first + count):
            ids += _drawn(f"{owner}#{block}", body.block_tokens)
    ids = ids[: node.prompt_tokens]
    left = node.prompt_tokens - len(ids)
    return ids + list(_drawn(f"{prompt.run}/{prompt.place}", left))


def _conversation(prompt: Talk) -> list[int]:
    ids = list(_drawn(f"{prompt.run}?", prompt.prompt_tokens))
    for number, tokens in enumerate(prompt.answers):
        ids += [ANSWER] * tokens
        ids += _drawn(f"{prompt.run}!{number}", WORDS_ABOUT_A_FAILURE)
    return ids


@lru_cache(maxsize=1 << 14)
def _drawn(name: str, count: int) -> tuple[int, ...]:
    """Ids that nothing of another name begins with."""
    found = b""
    for number in range(count * 2 // 64 + 1):
        found += blake2b(f"{name}/{number}".encode(), digest_size=64).digest()
    pairs = zip(found[0 : 2 * count : 2], found[1 : 2 * count : 2], strict=True)
    return tuple(FIRST + (high << 8 | low) % COUNT for high, low in pairs)
