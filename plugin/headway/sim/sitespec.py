"""How a suite's file describes its pools: endpoints by preset, with what differs from it."""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Duration = Annotated[float, Meta(ge=0)]


class SiteSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of endpoint of a pool, `count` times."""

    preset: Annotated[str, Meta(description="true speed and size: MODEL@GPU or MODEL@GPUxN")]
    count: Annotated[int, Meta(description="how many such endpoints", ge=1)] = 1
    model: Annotated[str, Meta(description="name served (default: the preset's model)")] = ""
    seats: Annotated[
        Positive | None,
        Meta(description="sequences at once (vLLM's max_num_seqs; default: the preset's)"),
    ] = None
    server: Annotated[
        str, Meta(description="endpoints with the same server share its capacity")
    ] = ""
    prefill: Annotated[
        str, Meta(description="preset of the server that computes the prompts (P/D pairs)")
    ] = ""
    prefill_server: Annotated[
        str, Meta(description="its name; several decode endpoints may share one")
    ] = ""
    transfer_s: Annotated[
        float, Meta(description="seconds a token that a prompt's KV takes to move", ge=0)
    ] = 0.0
    rtt_s: Annotated[float, Meta(description="round trip in seconds", ge=0)] = 0.0
    price: Annotated[
        float | None, Meta(description="money a million tokens, any unit: costs are ratios")
    ] = None
    context_tokens: Annotated[
        Positive | None, Meta(description="longest prompt + answer (default: as KV holds)")
    ] = None
    wake_s: Annotated[
        Duration | None, Meta(description="seconds to wake up (default: the preset's)")
    ] = None
    asleep: Annotated[bool, Meta(description="sleeps at the start of a cell")] = False
    sleep_after_s: Annotated[
        Duration | None, Meta(description="idle seconds after which it sleeps")
    ] = None


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool: its endpoints; every model may answer every call that is not bound to one."""

    name: str
    reference: Annotated[
        str, Meta(description="model of stand-alone times and reference tokens: the largest")
    ]
    sites: Annotated[tuple[SiteSpec, ...], Meta(min_length=1)]
    quality: Annotated[
        dict[str, float], Meta(description="the user's prior chance of each model, 0 to 1")
    ] = {}


def model_of(site: SiteSpec) -> str:
    """The model that a site serves."""
    return site.model or site.preset.partition("@")[0]
