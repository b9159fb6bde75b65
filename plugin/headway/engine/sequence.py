"""One request inside an engine."""

from dataclasses import dataclass, field

from headway.core.types import Seconds


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """A request and how far it has come.

    `prefix` names the blocks of prompt, then output, by hashes of the whole
    text up to each block's end. `left_to_prefill` counts tokens not computed
    yet; a running sequence with none left decodes. `room_tokens` is what its
    blocks, shared and private, can hold.
    """

    id: str
    priority: int
    number: int
    submitted_at: Seconds
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()
    produced: int = 0
    left_to_prefill: int = 0
    cached_tokens: int = 0
    private_blocks: int = 0
    room_tokens: int = 0
    shared: list[int] = field(default_factory=list)
    seated_at: Seconds | None = None
    first_token_at: Seconds | None = None
    preemptions: int = 0
    running: bool = False
    gone: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """The priority order of vLLM: lower numbers first, ties by arrival."""
        return (self.priority, self.number)

    @property
    def context_tokens(self) -> int:
        """Tokens that must be in the KV cache for the next one to be produced."""
        return self.prompt_tokens + self.produced

    @property
    def decoding(self) -> bool:
        """Whether each step gives it one more token."""
        return self.running and self.left_to_prefill == 0
