"""Which policies are played: known identifiers, and the settings of those that are swept."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from headway.core.errors import ConfigError, nearest
from headway.policy import POLICIES, make_policy
from headway.sim.oracle import BOUNDS
from headway.sim.suite import Knob, PolicySpec, SizeSpec, Suite

_Setting = TypeVar("_Setting")


def known_policies() -> tuple[str, ...]:
    """Every identifier, the bounds included."""
    return tuple(sorted({*POLICIES, *BOUNDS}))


def cast(suite: Suite, size: SizeSpec, chosen: Sequence[str] = ()) -> tuple[PolicySpec, ...]:
    """The policies to play, one entry a setting; `chosen` may name any, also of other suites.

    Raises `ConfigError` for one that does not exist, or a knob that it does not have.
    """
    for name in chosen:
        if name not in BOUNDS:
            try:
                make_policy(name)
            except ConfigError as error:
                hint = nearest(name, known_policies())
                raise ConfigError(f"--policy: no policy {name!r}{hint}") from error
    wanted = tuple(chosen) or size.policies
    specs = [spec for spec in suite.policy_specs() if not wanted or spec.id in wanted]
    listed = {spec.id for spec in specs}
    specs += [PolicySpec(id=name) for name in dict.fromkeys(wanted) if name not in listed]
    for spec in specs:
        if spec.id not in BOUNDS:
            make_policy(spec.id, dict(spec.params))
    return tuple(_distinct(specs, size))


def _distinct(specs: Iterable[PolicySpec], size: SizeSpec) -> Iterable[PolicySpec]:
    """Each setting once: a sweep may hold the defaults too."""
    seen: set[str] = set()
    for spec in specs:
        settings = [spec.params]
        if spec.sweep and size.sweeps:
            chosen = spread(sweep_of(spec.id), size.sweep_settings)
            settings += [{**spec.params, **one} for one in chosen]
        for params in settings:
            key = f"{spec.id} {sorted(params.items())}"
            if key not in seen:
                seen.add(key)
                yield PolicySpec(id=spec.id, params=params)


def sweep_of(name: str) -> tuple[dict[str, Knob], ...]:
    """The settings that the policy's source leaves open; none for a bound."""
    return POLICIES[name].sweep if name in POLICIES else ()


def spread(settings: Sequence[_Setting], most: int) -> tuple[_Setting, ...]:
    """At most `most` of `settings`, evenly spread, the first and the last among them; 0: all."""
    if not most or len(settings) <= most:
        return tuple(settings)
    if most == 1:
        return (settings[0],)
    step = (len(settings) - 1) / (most - 1)
    return tuple(settings[round(place * step)] for place in range(most))
