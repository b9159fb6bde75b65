"""Which policies are played: known identifiers, and the settings of those that are swept."""

from collections.abc import Iterable, Sequence

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
    return tuple(_distinct(specs, sweeps=size.sweeps))


def _distinct(specs: Iterable[PolicySpec], *, sweeps: bool) -> Iterable[PolicySpec]:
    """Each setting once: a sweep may hold the defaults too."""
    seen: set[str] = set()
    for spec in specs:
        settings = [spec.params]
        if spec.sweep and sweeps:
            settings += [{**spec.params, **one} for one in sweep_of(spec.id)]
        for params in settings:
            key = f"{spec.id} {sorted(params.items())}"
            if key not in seen:
                seen.add(key)
                yield PolicySpec(id=spec.id, params=params)


def sweep_of(name: str) -> tuple[dict[str, Knob], ...]:
    """The settings that the policy's source leaves open; none for a bound."""
    return POLICIES[name].sweep if name in POLICIES else ()
