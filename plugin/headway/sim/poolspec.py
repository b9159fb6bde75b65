"""Pools: from a suite's spec, or a user's own pool, to the servers that are simulated.

And the other way round: what the scheduler believes of them, exactly or wrongly on purpose.
"""

import dataclasses
from collections.abc import Mapping

import msgspec

from headway.core.errors import ConfigError
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.types import EndpointId
from headway.engine import EngineProfile
from headway.engine.profile import preset
from headway.sim.luck import unit_draw
from headway.sim.pools import SimPool, Site
from headway.sim.sitespec import PoolSpec, SiteSpec, model_of

POOL_NAME = "agent"
"""What simulated graphs ask for: every model of the pool may answer."""
GUESSED_SEATS = 256
"""vLLM's default max_num_seqs, where a user's pool does not say."""
GUESSED_KV_TOKENS = 1 << 20


def sim_pool(spec: PoolSpec) -> SimPool:
    """The servers that a suite's pool stands for. Raises `ConfigError` for an unknown preset."""
    sites: list[Site] = []
    numbers: dict[str, int] = {}
    for site in spec.sites:
        for _ in range(site.count):
            number = numbers[site.preset] = numbers.get(site.preset, 0) + 1
            try:
                sites.append(_site(site, f"{site.preset}#{number}"))
            except ConfigError as error:
                raise ConfigError(f"pool {spec.name}: {error}") from error
    models = tuple(dict.fromkeys(site.model for site in sites))
    return SimPool(
        name=spec.name,
        sites=tuple(sites),
        names={POOL_NAME: models},
        reference=spec.reference,
        quality=dict(spec.quality),
    )


def _site(spec: SiteSpec, site_id: str) -> Site:
    profile = preset(spec.preset)
    if spec.seats is not None:
        profile = dataclasses.replace(profile, seats=spec.seats)
    if spec.wake_s is not None:
        profile = dataclasses.replace(profile, wake_s=spec.wake_s)
    if spec.sleep_after_s is not None:
        profile = dataclasses.replace(profile, sleep_after_s=spec.sleep_after_s)
    return Site(
        id=site_id,
        model=model_of(spec),
        profile=profile,
        server=spec.server,
        prefill_server=(spec.prefill_server or f"{site_id}/prefill") if spec.prefill else "",
        prefill=preset(spec.prefill) if spec.prefill else None,
        transfer_s=spec.transfer_s,
        rtt_s=spec.rtt_s,
        price=spec.price,
        context_tokens=spec.context_tokens,
        asleep=spec.asleep,
    )


def belief_pool(pool: SimPool, error: float = 0.0, seed: int = 0) -> Pool:
    """What the scheduler is told of `pool`: seats and KV as they are, speeds off by `error`.

    Each time factor of each site is multiplied by 1 + error or 1 - error, drawn by its name:
    the same for all policies of a cell.
    """
    return Pool(
        endpoints=tuple(_believed(site, error, seed) for site in pool.sites),
        names=tuple(
            PoolName(name=name, models=models) for name, models in sorted(pool.names.items())
        ),
        quality=dict(pool.quality),
    )


def _believed(site: Site, error: float, seed: int) -> EndpointSpec:
    truth = site.profile
    prompts = site.prefill or truth

    def off(factor: str) -> float:
        up = unit_draw("belief", seed, site.id, factor) < 0.5
        return 1.0 + error if up else 1.0 - error

    return EndpointSpec(
        id=EndpointId(site.id),
        url=f"http://{site.id.replace('#', '-').replace('@', '-')}.simulated/v1",
        model=site.model,
        engine="emulated",
        server=site.server,
        prefill_server=site.prefill_server,
        profile=Profile(
            prefill_s=prompts.prefill_s * off("prefill"),
            step_s=truth.step_s * off("step"),
            seq_s=truth.seq_s * off("seq"),
            context_s=truth.context_s * off("context"),
            seats=truth.seats,
            kv_tokens=truth.kv_tokens,
            wake_s=truth.wake_s,
            transfer_s=site.transfer_s,
        ),
        context_tokens=min(site.context_tokens or truth.kv_tokens, truth.kv_tokens),
        price=site.price,
        rtt_s=site.rtt_s,
    )


def own_pool(
    pool: Pool, name: str, truths: Mapping[str, EngineProfile] | None = None
) -> tuple[SimPool, Pool]:
    """A user's pool as servers, and what is believed of them: ``headway.yaml`` as it is.

    The truth of an endpoint is what `truths` says by its id (an ``emulate:`` section), else the
    believed profile itself. The reference is the model that is slowest a step, as large ones
    are. Raises `ConfigError` if nothing is known of an endpoint's speed.
    """
    usable = [spec for spec in pool.endpoints if not spec.drain]
    if not usable:
        raise ConfigError(f"{name}: no endpoint takes calls: all of them drain")
    sites = tuple(_own_site(spec, dict(truths or {}), name) for spec in usable)
    models = tuple(dict.fromkeys(site.model for site in sites))
    reference = max(sites, key=lambda site: (site.profile.step_s, site.model)).model
    truth = SimPool(
        name=name,
        sites=sites,
        names={POOL_NAME: models},
        reference=reference,
        quality=dict(pool.quality),
    )
    names = pool.names
    if not pool.declares(POOL_NAME):  # for calls of which nobody knows what they asked for
        names = (*names, PoolName(name=POOL_NAME, models=models))
    fitted = tuple(_fitted(spec, site) for spec, site in zip(usable, sites, strict=True))
    belief = msgspec.structs.replace(pool, endpoints=fitted, names=names)
    return truth, belief


def _fitted(spec: EndpointSpec, site: Site) -> EndpointSpec:
    """What a live daemon reads from the endpoint's metrics at its start: seats and KV. Calls that
    its KV cache can never hold are not offered to it.
    """
    held = site.profile.kv_tokens
    believed = spec.profile or Profile()
    known = msgspec.structs.replace(
        believed,
        seats=believed.seats or site.profile.seats,
        kv_tokens=believed.kv_tokens or held,
    )
    context_tokens = min(spec.context_tokens or held, held)
    return msgspec.structs.replace(spec, profile=known, context_tokens=context_tokens)


def _own_site(spec: EndpointSpec, truths: dict[str, EngineProfile], name: str) -> Site:
    profile = truths.get(spec.id)
    if profile is None:
        if spec.profile is None:
            raise ConfigError(
                f"{name}: nothing says how fast endpoint {spec.id!r} is: give it a "
                "`profile:` (prefill_s, step_s, seats) or an entry under `emulate: endpoints:`, "
                "such as `small-1: {preset: qwen2.5-7b@a100, seats: 64}`"
            )
        believed = spec.profile
        profile = EngineProfile(
            prefill_s=believed.prefill_s,
            step_s=believed.step_s,
            seq_s=believed.seq_s,
            context_s=believed.context_s,
            seats=believed.seats or GUESSED_SEATS,
            kv_tokens=believed.kv_tokens or GUESSED_KV_TOKENS,
            wake_s=believed.wake_s,
        )
    return Site(
        id=spec.id,
        model=spec.model,
        profile=profile,
        server=spec.server,
        rtt_s=spec.rtt_s,
        price=spec.price,
        context_tokens=spec.context_tokens,
    )


def pool_lines(pool: SimPool) -> tuple[str, ...]:
    """One line an endpoint, for the report."""
    return tuple(
        f"{site.id}: {site.model}, {site.profile.seats} seats, "
        f"{site.profile.kv_tokens:,} KV tokens, "
        f"{1000 * site.profile.step_s:.1f} ms a step alone, "
        f"{1e6 * (site.prefill or site.profile).prefill_s:.0f} us a prompt token"
        + (f", prompts on {site.prefill_server}" if site.prefill_server else "")
        + (", asleep at first" if site.asleep else "")
        for site in pool.sites
    )
