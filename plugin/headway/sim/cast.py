"""Which policies are played: known identifiers, and the settings of those that are swept."""

import inspect
from collections.abc import Iterable, Mapping, Sequence

from headway.core.errors import ConfigError, nearest
from headway.policy import POLICIES, make_policy
from headway.sim.oracle import BOUNDS
from headway.sim.suite import Knob, PolicySpec, SizeSpec, Suite


def known_policies() -> tuple[str, ...]:
    """Every identifier, the bounds included."""
    return tuple(sorted({*POLICIES, *BOUNDS}))


def cast(suite: Suite, size: SizeSpec, chosen: Sequence[str] = ()) -> tuple[PolicySpec, ...]:
    """The policies to play, one entry a setting; `chosen` may name any, also of other suites.

    Raises `ConfigError` for one that does not exist, or a knob that it does not have.
    """
    for name in chosen:
        check_policy(name, "--policy")
    wanted = tuple(chosen) or size.policies
    specs = [spec for spec in suite.policy_specs() if not wanted or spec.id in wanted]
    listed = {spec.id for spec in specs}
    specs += [PolicySpec(id=name) for name in dict.fromkeys(wanted) if name not in listed]
    for spec in specs:
        check_policy(spec.id, f"suite {suite.name}: policies", spec.params)
    return tuple(_distinct(specs, size))


def check_policy(name: str, where: str, params: Mapping[str, Knob] | None = None) -> None:
    """Raises `ConfigError` that begins with `where`, for an unknown policy or knob."""
    if name not in known_policies():
        raise ConfigError(f"{where}: no policy {name!r}{nearest(name, known_policies())}")
    if name in BOUNDS:
        return
    try:
        make_policy(name, dict(params or {}))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _distinct(specs: Iterable[PolicySpec], size: SizeSpec) -> Iterable[PolicySpec]:
    """Each setting once: a sweep may hold the defaults too."""
    seen: set[str] = set()
    for spec in specs:
        settings = [spec.params]
        if spec.sweep and size.sweeps and (not size.swept or spec.id in size.swept):
            settings += [{**spec.params, **one} for one in sweep_of(spec.id, size.sweep_settings)]
        for params in settings:
            key = f"{spec.id} {sorted({**_defaults(spec.id), **params}.items())}"
            if key not in seen:
                seen.add(key)
                yield PolicySpec(id=spec.id, params=params)


def sweep_of(name: str, most: int = 0) -> tuple[dict[str, Knob], ...]:
    """The settings that the policy's source leaves open, the first `most`; none for a bound.

    A SWEEP goes from coarse to fine, so that its first settings span it. 0: all.
    """
    every = POLICIES[name].sweep if name in POLICIES else ()
    return every[:most] if most else every


def _defaults(name: str) -> dict[str, Knob]:
    """The knobs that a policy has when none is given."""
    if name not in POLICIES:
        return {}
    knobs = inspect.signature(POLICIES[name].what).parameters.values()
    return {knob.name: knob.default for knob in knobs if knob.default is not knob.empty}
