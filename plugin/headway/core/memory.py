"""What a scheduler learned, as plain data: kept over restarts, and at the head of a journal."""

from collections.abc import Mapping
from typing import Any

from headway.core.books import Books
from headway.core.endpoints import Endpoint
from headway.core.errors import HeadwayError
from headway.core.protocols import Foresight, Policy
from headway.core.types import EndpointId


def remembered(
    foresight: Foresight, policy: Policy, endpoints: Mapping[EndpointId, Endpoint], books: Books
) -> dict[str, Any]:
    """Forecasts, speeds, topologies, and what the policy learned if it heeds events."""
    snapshot = getattr(policy, "snapshot", None)
    return {
        "foresight": foresight.snapshot(),
        "policy": {"name": policy.name, "own": snapshot()} if snapshot is not None else {},
        "topologies": [
            [name, *topology.snapshot()] for name, topology in sorted(books.topologies.items())
        ],
        **observed(endpoints),
    }


def observed(endpoints: Mapping[EndpointId, Endpoint]) -> dict[str, Any]:
    """Of that, what changes with every call and is told by no lesson: speeds."""
    return {"speeds": [[one.id, one.speed, one.speed_samples] for one in endpoints.values()]}


def recall(
    learned: Mapping[str, Any],
    foresight: Foresight,
    policy: Policy,
    endpoints: Mapping[EndpointId, Endpoint],
    books: Books,
) -> None:
    """Take it back. Raises `HeadwayError` if it is not what `remembered` gave."""
    restore = getattr(policy, "restore", None)
    try:
        foresight.restore(learned["foresight"])
        own = learned.get("policy") or {}
        if restore is not None and own.get("name") == policy.name:  # another's is left
            restore(own["own"])
        for endpoint_id, speed, samples in learned.get("speeds", ()):
            if (endpoint := endpoints.get(endpoint_id)) is not None:
                endpoint.speed, endpoint.speed_samples = float(speed), int(samples)
        for name, edges, visits in learned.get("topologies", ()):
            books.topology(name).restore(edges, visits)
    except (KeyError, TypeError, ValueError) as error:
        raise HeadwayError(f"what was learned cannot be read ({error!r}): delete it") from error
