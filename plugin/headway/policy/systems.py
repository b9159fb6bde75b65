"""The published systems that Headway is compared with, by identifier.

`RULES` are bound at once, or with ``+release`` released late; `POLICIES_OF_SYSTEMS` have a release
of their own, and take the place of a rule of the same name.
"""

from collections.abc import Callable

from headway.core.protocols import Policy
from headway.policy.binding import Rule
from headway.policy.cascade import Cascade
from headway.policy.chimera import Chimera
from headway.policy.hexagent import Hexagent, HexagentOrder
from headway.policy.maestro import Maestro
from headway.policy.readiness import Readiness
from headway.policy.routebalance import RouteBalance
from headway.policy.routers import RouterLb, RouterSf
from headway.policy.srpt import Srpt

RULES: dict[str, Callable[..., Rule]] = {
    "chimera": Chimera,
    "maestro": Maestro,
    "hexagent": HexagentOrder,
    "routebalance": RouteBalance,
    "router-lb": RouterLb,
    "router-sf": RouterSf,
    "cascade": Cascade,
    "srpt": Srpt,
}

POLICIES_OF_SYSTEMS: dict[str, Callable[..., Policy]] = {
    "hexagent": Hexagent,
    "readiness": Readiness,
}
