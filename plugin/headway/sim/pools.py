"""The pool of a cell: what its servers really are, and what the scheduler believes of them."""

import msgspec

from headway.core.types import Seconds
from headway.engine import EngineProfile


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint as it really is.

    Sites with the same `server` share one engine; one with a `prefill_server` computes its
    prompts there (`prefill` is that server's profile) and gets their KV at `transfer_s` a token.
    """

    id: str
    model: str
    profile: EngineProfile
    server: str = ""
    prefill_server: str = ""
    prefill: EngineProfile | None = None
    transfer_s: Seconds = 0.0
    rtt_s: Seconds = 0.0
    price: float | None = None
    context_tokens: int | None = None
    asleep: bool = False


class SimPool(msgspec.Struct, frozen=True, kw_only=True):
    """The servers of a cell and who may answer for whom.

    `names` maps a pool name to its models, `reference` is the model of stand-alone times and
    reference tokens (the largest), `quality` the prior chance of each model.
    """

    name: str
    sites: tuple[Site, ...]
    names: dict[str, tuple[str, ...]]
    reference: str
    quality: dict[str, float] = {}
