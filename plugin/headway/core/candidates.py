"""Which endpoints may serve a call: the filter that runs before any scoring.

Who may stand in for whom is the user's to say (pool names), a node or run may
narrow it, and what a request needs rules out models that cannot do it.
"""

from collections.abc import Mapping

from headway.core.facts import CallReady
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId


def allowed_models(pool: Pool, ask: CallReady) -> tuple[tuple[str, ...], dict[str, str]]:
    """Models that may answer `ask`, in the user's order, and why each other one may not."""
    declared = pool.name(ask.pool_name)
    excluded: dict[str, str] = {}
    allowed = []
    for model in _listed(pool, ask):
        if ask.models and not _named(pool, model, ask.models):
            excluded[model] = f"the run or node asks for {', '.join(ask.models)}"
            continue
        missing = [need for need in ask.needs if not pool.can(model, need)]
        if missing:
            excluded[model] = f"not declared able to do {', '.join(missing)}"
            continue
        allowed.append(model)
    if ask.loop_model in allowed and not declared.switch_in_loop:
        for model in allowed:
            if model != ask.loop_model:
                excluded[model] = f"inside a tool loop of {ask.loop_model}"
        allowed = [ask.loop_model]
    return tuple(allowed), excluded


def _listed(pool: Pool, ask: CallReady) -> tuple[str, ...]:
    """The models of the pool name; of one that only the client knows, those it can reach."""
    if ask.endpoints and not pool.declares(ask.pool_name):
        specs = (spec for spec in pool.endpoints if spec.id in ask.endpoints)
        return tuple(dict.fromkeys(spec.model for spec in specs))
    return pool.name(ask.pool_name).models


def _unreachable(spec: EndpointSpec, ask: CallReady) -> str:
    """Why `spec` takes no new calls of the client of `ask`; empty if it does."""
    if spec.drain:
        return "being drained"
    if ask.endpoints:
        return "" if spec.id in ask.endpoints else "the client does not offer it"
    return "" if spec.url else "it has no URL: only LiteLLM reaches it"


def _named(pool: Pool, model: str, names: tuple[str, ...]) -> bool:
    """Whether `names` holds the model or one of its endpoints."""
    return model in names or any(spec.id in names for spec in pool.serving(model))


def _limit(spec: EndpointSpec, limits: Mapping[EndpointId, int | None] | None) -> float:
    known = spec.context_tokens if limits is None else limits.get(spec.id)
    return float("inf") if known is None else known


def candidates(
    pool: Pool,
    ask: CallReady,
    prompt_tokens: int,
    limits: Mapping[EndpointId, int | None] | None = None,
) -> tuple[tuple[EndpointSpec, ...], dict[str, str]]:
    """Endpoints that may serve `ask`, and for each other endpoint of the pool why it may not.

    `limits` are the endpoints' longest contexts in tokens, where more is known than declared.
    """
    models, why_not = allowed_models(pool, ask)
    pinned = {name for name in ask.models if any(spec.id == name for spec in pool.endpoints)}
    chosen = []
    excluded: dict[str, str] = {}
    need_tokens = prompt_tokens + (ask.max_tokens or 0)
    for model in models:
        for spec in pool.serving(model):
            if why := _unreachable(spec, ask):
                excluded[spec.id] = why
            elif pinned and model not in ask.models and spec.id not in pinned:
                excluded[spec.id] = f"the run or node asks for {', '.join(ask.models)}"
            elif need_tokens > (limit := _limit(spec, limits)):
                excluded[spec.id] = f"{need_tokens} tokens do not fit into {limit:.0f}"
            else:
                chosen.append(spec)
    taken = {spec.id for spec in chosen}
    for spec in pool.endpoints:
        if spec.id not in taken and spec.id not in excluded:
            excluded[spec.id] = why_not.get(
                spec.model, f"{spec.model} is not listed for {ask.pool_name}"
            )
    return tuple(chosen), excluded
