"""Putting a scheduler together: the one place where daemon, replay and simulator do it alike."""

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headway.core.errors import ConfigError, nearest
from headway.core.pool import Pool
from headway.core.protocols import Policy
from headway.core.scheduler import Scheduler
from headway.policy import baselines, systems
from headway.policy.binding import BoundAtOnce, ReleasedLate, Rule
from headway.policy.headway import Headway, HeadwayEarly
from headway.predict.foresight import OnlineForesight

DEFAULT_POLICY = "headway"
RELEASED = "+release"
"""At the end of a baseline's identifier: its order and models with our late release."""


@dataclass(frozen=True, slots=True)
class Maker:
    """How a policy is made: `what` takes its parameters; a rule is then bound to be a policy.

    A policy's parameters are those of `what`'s constructor.
    """

    name: str
    what: Callable[..., Any]
    bind: Callable[[str, Rule], Policy] | None = None

    def __call__(self, **params: Any) -> Policy:
        """The policy. Raises `TypeError` or `ValueError` for parameters that cannot be."""
        made = self.what(**params)
        policy: Policy = made if self.bind is None else self.bind(self.name, made)
        return policy

    @property
    def parameters(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(inspect.signature(self.what).parameters)

    @property
    def sweep(self) -> tuple[dict[str, Any], ...]:
        """The sets of parameters that a comparison tries, in the baseline's favour."""
        swept: tuple[dict[str, Any], ...] = getattr(self.what, "SWEEP", ({},))
        return swept


def _makers() -> dict[str, Maker]:
    makers = {
        DEFAULT_POLICY: Maker(DEFAULT_POLICY, Headway),
        HeadwayEarly.name: Maker(HeadwayEarly.name, HeadwayEarly),
    }
    for name, rule in (*baselines.RULES.items(), *systems.RULES.items()):
        makers[name] = Maker(name, rule, BoundAtOnce)
        makers[name + RELEASED] = Maker(name + RELEASED, rule, ReleasedLate)
    for name, policy in systems.POLICIES_OF_SYSTEMS.items():
        makers[name] = Maker(name, policy)
    return makers


POLICIES: dict[str, Maker] = _makers()


def make_policy(name: str, params: dict[str, Any] | None = None) -> Policy:
    """The policy of that name. Raises `ConfigError` naming the nearest known name or parameter."""
    maker = POLICIES.get(name)
    if maker is None:
        raise ConfigError(f"no policy {name!r}{nearest(name, POLICIES)}")
    for key in params or {}:
        if key not in maker.parameters:
            hint = nearest(key, maker.parameters) or "; it has none"
            raise ConfigError(f"policy {name!r} has no parameter {key!r}{hint}")
    try:
        return maker(**(params or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"policy {name!r}: {error}") from error


def make_scheduler(
    pool: Pool,
    *,
    policy: str = DEFAULT_POLICY,
    params: dict[str, Any] | None = None,
    seed: int = 0,
    learned: dict[str, Any] | None = None,
) -> Scheduler:
    """A scheduler over `pool`. Same arguments and events, same decisions."""
    return Scheduler(
        pool,
        make_policy(policy, params),
        foresight=OnlineForesight(pool.quality),
        rng=random.Random(seed),
        seed=seed,
        learned=learned,
    )
