"""The pool as the user declared it: endpoints, pool names, capabilities, priors.

Pure data, checked when the daemon reads its configuration and handed to the
core and to clients as is. An `api_key` here is only ever a reference
(``os.environ/NAME``), resolved in the client's process.
"""

import msgspec

from headway.core.errors import UnknownEndpoint
from headway.core.types import EndpointId, Mode, Need, Seconds


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What we believe of an endpoint's speed and size.

    A decode step of `n` sequences with `k` tokens of context in all takes
    ``step_s + n * seq_s + k * context_s`` seconds; prefill takes
    ``prefill_s`` seconds a token. `seats` sequences run at once (None: not
    known, learned), `kv_tokens` fit into the KV cache (None: not known). One that is asleep
    takes `wake_s` to wake. Where another server prefills, a prompt's KV takes `transfer_s`
    seconds a token from there.
    """

    prefill_s: Seconds = 0.0002
    step_s: Seconds = 0.02
    seq_s: Seconds = 0.0
    context_s: Seconds = 0.0
    seats: int | None = None
    kv_tokens: int | None = None
    wake_s: Seconds = 0.0
    transfer_s: Seconds = 0.0

    def step_time_s(self, sequences: int, context_tokens: float) -> Seconds:
        """Seconds of one decode step."""
        return self.step_s + sequences * self.seq_s + context_tokens * self.context_s


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One (base URL, model). `url` is what a client would give as its base URL (with ``/v1``).

    `server` groups endpoints that share capacity (empty: the endpoint's own id). Without a
    `url` only a client that names the endpoint (LiteLLM, of its deployments) can reach it.
    An endpoint with `drain` gets no new calls; `heeds_urgency` says whether its own queue is served
    by priority (None: not known), `kv_events` where it publishes what its cache holds (ZMQ). One
    with a `prefill_server` is a pair: prompts are computed there, and decoded on `server`
    (HexAGenT, arXiv 2605.16637).
    """

    id: EndpointId
    url: str
    model: str
    engine: str = "openai"
    api_key: str = ""
    server: str = ""
    profile: Profile | None = None
    context_tokens: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    price: float | None = None
    rtt_s: Seconds = 0.0
    drain: bool = False
    heeds_urgency: bool | None = None
    kv_events: str = ""
    prefill_server: str = ""


class PoolName(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model name that clients ask for and the models that may answer it, in the user's order.

    With `send_text` clients tell what a prompt says, as hashed words, and with `encode` as the text
    itself too, for the daemon's encoder, for which a question waits up to `wait_for_confidence_s`.
    """

    name: str
    models: tuple[str, ...]
    fallback: str = ""
    switch_in_loop: bool = False
    send_text: bool = False
    encode: bool = False
    wait_for_confidence_s: Seconds = 0.0
    idle_grace_s: Seconds = 2.0


ASSUMED: tuple[Need, ...] = ("tools", "response_format")
"""Capabilities that a model has unless its declaration says otherwise."""


class Pool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything the user declared about the pool; `mode` travels with it to clients.

    `capabilities` lists, per model, all it can do beyond text (a model that is
    not listed can do what `ASSUMED` names). `quality` is the prior chance that
    a model's answer suffices. `class_deadlines` gives each service class its
    default deadline in seconds.
    """

    endpoints: tuple[EndpointSpec, ...]
    names: tuple[PoolName, ...] = ()
    capabilities: dict[str, tuple[Need, ...]] = {}
    quality: dict[str, float] = {}
    gateways: dict[str, str] = {}
    class_deadlines: dict[str, Seconds] = {}
    mode: Mode = "on"

    def with_mode(self, mode: Mode) -> "Pool":
        """The same pool in another mode."""
        return msgspec.structs.replace(self, mode=mode)

    def endpoint(self, endpoint_id: EndpointId) -> EndpointSpec:
        """The endpoint of that id. Raises `UnknownEndpoint`: the caller should skip it."""
        for spec in self.endpoints:
            if spec.id == endpoint_id:
                return spec
        raise UnknownEndpoint(endpoint_id, tuple(spec.id for spec in self.endpoints))

    def declares(self, pool_name: str) -> bool:
        """Whether the user listed this pool name."""
        return any(declared.name == pool_name for declared in self.names)

    def name(self, pool_name: str) -> PoolName:
        """The pool name as declared; a name that is not listed means only the model itself."""
        for declared in self.names:
            if declared.name == pool_name:
                return declared
        return PoolName(name=pool_name, models=(pool_name,))

    def serving(self, model: str) -> tuple[EndpointSpec, ...]:
        """Endpoints that serve `model`, in the user's order."""
        return tuple(spec for spec in self.endpoints if spec.model == model)

    def can(self, model: str, need: Need) -> bool:
        """Whether `model` is declared (or assumed) able to do `need`."""
        return need in self.capabilities.get(model, ASSUMED)

    def fallback(self, pool_name: str) -> EndpointSpec | None:
        """Where calls for `pool_name` go without a decision; None if nothing serves it."""
        declared = self.name(pool_name)
        for spec in self.endpoints:
            usable = spec.url and not spec.drain
            if usable and declared.fallback and declared.fallback in (spec.id, spec.model):
                return spec
        for model in declared.models:
            for spec in self.serving(model):
                if spec.url and not spec.drain:
                    return spec
        return None
