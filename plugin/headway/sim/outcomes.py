"""What a simulated (or emulated, or real) cell leaves behind: runs and calls with their times.

Plain facts in virtual seconds from the start of the cell; `measures` makes numbers of them.
"""

import msgspec

from headway.core.types import Seconds


class CallOutcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call as it went. Instants are seconds from the cell's start.

    `reference_tokens` is what the reference (largest) model would have written.
    `reserved_tokens` is the output part of the KV that was set aside at its release,
    `max_tokens` what a static reservation would have set aside. `hit_tokens` of the prompt were
    found in the prefix cache. `preemptions`: how often it lost its KV and was
    computed again; `refused`: turned away at first for want of room.
    """

    run: str
    node: str
    endpoint: str
    model: str
    ready_s: Seconds
    released_s: Seconds
    first_token_s: Seconds
    ended_s: Seconds
    prompt_tokens: int
    hit_tokens: int
    output_tokens: int
    reference_tokens: int
    reserved_tokens: float
    max_tokens: int
    preemptions: int = 0
    refused: bool = False


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run as it went. `ended_s` None: it never ended (a failure, infinite slowdown).

    `paused_s` was spent waiting for a person and does not count as completion. `alone_s` is the
    stand-alone time of the whole run, `deadline_s` counts from its arrival. `ok`: whether its
    last answer was right (None: nobody knows). `failed`: it could not be served.
    """

    id: str
    graph: str
    arrived_s: Seconds
    ended_s: Seconds | None
    alone_s: Seconds
    deadline_s: Seconds | None = None
    paused_s: Seconds = 0.0
    ok: bool | None = None
    failed: bool = False
    tenant: str = ""
    service_class: str = ""
    cost: float = 0.0
    calls: tuple[CallOutcome, ...] = ()


class EndpointOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint did in a cell: seconds busy, steps' share on prompts, tokens, calls."""

    id: str
    model: str
    busy_s: Seconds
    calls: int
    prompt_tokens: int
    hit_tokens: int
    output_tokens: int


class CellOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that one cell left behind. `planner_s` holds the wall time of each decision."""

    runs: tuple[RunOutcome, ...]
    endpoints: tuple[EndpointOutcome, ...]
    span_s: Seconds
    planner_s: tuple[float, ...] = ()
