"""The baselines by identifier: gateways' strategies, orders, shuffles and splits."""

from collections.abc import Callable

from headway.policy.attained import Atlas, Plas
from headway.policy.binding import Rule
from headway.policy.boost import Boost
from headway.policy.deadlines import EarliestDeadline, LeastLaxity
from headway.policy.fcfs import Fcfs, WorkflowFcfs
from headway.policy.gateways import LatencyBased, LeastBusy, SimpleShuffle
from headway.policy.lengths import ShortestCall
from headway.policy.shuffles import ShuffleCall, ShuffleRun
from headway.policy.splits import LargeOnly, SmallOnly, StaticSplit

RULES: dict[str, Callable[..., Rule]] = {
    "fcfs": Fcfs,
    "workflow-fcfs": WorkflowFcfs,
    "shuffle-call": ShuffleCall,
    "shuffle-run": ShuffleRun,
    "simple-shuffle": SimpleShuffle,
    "least-busy": LeastBusy,
    "latency-based": LatencyBased,
    "edf": EarliestDeadline,
    "llf": LeastLaxity,
    "plas": Plas,
    "atlas": Atlas,
    "ltr": ShortestCall,
    "boost": Boost,
    "small-only": SmallOnly,
    "large-only": LargeOnly,
    "static": StaticSplit,
}
