"""One request inside an engine."""

from dataclasses import dataclass

from headway.core.types import Seconds
from headway.engine.happenings import Finished
from headway.engine.prefixes import Node


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """A request and how far it has come.

    `prefix` names the blocks of prompt, then output, by hashes of the whole
    text up to each block's end. `transferred`: the KV of its prompt comes from
    another engine. `seat` is the number of its seating, 0 while it waits.
    `left_to_prefill` counts tokens not computed yet; a seated sequence with
    none left decodes, and then `produced` and `blocks` are as they were when it
    began to: `Decoding` knows by how much they have grown.
    `shared_blocks` of its blocks are shared, as the prefix that ends with `shared_end`.
    """

    id: str
    priority: int
    number: int
    submitted_at: Seconds
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()
    transferred: bool = False
    produced: int = 0
    left_to_prefill: int = 0
    cached_tokens: int = 0
    blocks: int = 0
    shared_blocks: int = 0
    shared_end: Node | None = None
    ahead: int = 0
    decoding: bool = False
    seat: int = 0
    seated_at: Seconds | None = None
    first_token_at: Seconds | None = None
    preemptions: int = 0
    gone: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """The priority order of vLLM: lower numbers first, ties by arrival."""
        return (self.priority, self.number)

    @property
    def context_tokens(self) -> int:
        """Tokens that must be in the KV cache for the next one to be produced."""
        return self.prompt_tokens + self.produced

    def finished(self, at: Seconds) -> Finished:
        """What is told of it when it has all its tokens."""
        seated_at = at if self.seated_at is None else self.seated_at
        return Finished(
            id=self.id,
            at=at,
            submitted_at=self.submitted_at,
            first_token_at=at if self.first_token_at is None else self.first_token_at,
            output_tokens=self.produced,
            cached_tokens=self.cached_tokens,
            waited_s=seated_at - self.submitted_at,
            preemptions=self.preemptions,
        )
