"""Putting a scheduler together: the one place where daemon, replay and simulator do it alike."""

import inspect
import random
from collections.abc import Callable
from typing import Any

from headway.core.errors import ConfigError, nearest
from headway.core.pool import Pool
from headway.core.protocols import Policy
from headway.core.scheduler import Scheduler
from headway.policy.fcfs import Fcfs
from headway.policy.headway import Headway
from headway.policy.least_busy import LeastBusy
from headway.predict.foresight import OnlineForesight

POLICIES: dict[str, Callable[..., Policy]] = {
    "headway": Headway,
    "fcfs": Fcfs,
    "least-busy": LeastBusy,
}
DEFAULT_POLICY = "headway"


def make_policy(name: str, params: dict[str, Any] | None = None) -> Policy:
    """The policy of that name. Raises `ConfigError` naming the nearest known name or parameter."""
    factory = POLICIES.get(name)
    if factory is None:
        raise ConfigError(f"no policy {name!r}{nearest(name, POLICIES)}")
    known = [p for p in inspect.signature(factory).parameters if p not in ("args", "kwargs")]
    for key in params or {}:
        if key not in known:
            raise ConfigError(f"policy {name!r} has no parameter {key!r}{nearest(key, known)}")
    try:
        return factory(**(params or {}))
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
