"""Orders by attained service, small first: no prediction (Autellix, arXiv 2502.13965)."""

import math
from typing import ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.placing import Plain, Sweep, least_full

LOCAL_TOKENS = 2048
"""Prompts up to this go to the least loaded engine, longer ones stay with their program's."""
LEAST_S = 1e-3


class Plas(Plain):
    """Program-level attained service: the run that was served least goes first.

    What: calls sit in queues by the service that all calls of their run have had: level 0 up to
    `quantum_s`, each next one `factor` times longer, in order of arrival within one. A call that
    waits is promoted to level 0 once its run has waited `promote_at` times as long as it was
    served (0: never); bound at once an order is asked for when a call is ready and not again,
    so that does nothing and is not swept. Why choose it: needs no prediction; short runs pass
    long ones. Inputs: service so far, age.
    Parameters: `quantum_s` and `factor` shape the queues, `queues` is their number, `promote_at`
    the waiting per service at which a held call is promoted. Trade-offs: long runs wait;
    parallel branches of a run add up against it. Source: Autellix (arXiv 2502.13965, sec. 4.2):
    order = level of sum over the run's calls of t(u); promoted if wait / service >= threshold.
    Open in the source: quanta (swept) and threshold. What a run waited is its age less its
    stand-alone time, as the engines' queues are not seen.
    """

    SWEEP: ClassVar[Sweep] = tuple({"quantum_s": quantum_s} for quantum_s in (0.5, 32.0, 8.0, 2.0))

    def __init__(
        self,
        *,
        quantum_s: Seconds = 2.0,
        factor: float = 2.0,
        queues: int = 12,
        promote_at: float = 4.0,
    ) -> None:
        if quantum_s <= 0 or factor <= 1 or queues < 1 or promote_at < 0:
            raise ValueError("quantum_s > 0, factor > 1, queues >= 1 and promote_at >= 0 needed")
        self._quantum_s = quantum_s
        self._factor = factor
        self._last = queues - 1
        self._promote_at = promote_at

    def served_s(self, view: View, call: Call) -> Seconds:
        """The service that counts against the call: of all calls of its run together."""
        return view.served_s(call)

    def order(self, view: View, call: Call) -> float:
        """The level of its queue."""
        served_s = self.served_s(view, call)
        if served_s < self._quantum_s or self._starved(view, call):
            return 0.0
        level = 1 + int(math.log(served_s / self._quantum_s, self._factor))
        return float(min(level, self._last))

    def _starved(self, view: View, call: Call) -> bool:
        """Whether the run waited too long for what it got; only where the order is asked again."""
        if not self._promote_at or view.at <= call.ready_at:
            return False
        waited_s = view.age_s(call) - view.attained_s(call)
        return waited_s >= self._promote_at * max(view.served_s(call), LEAST_S)

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """A long prompt to the run's own endpoint, a short one to the least loaded."""
        if call.prompt_tokens > LOCAL_TOKENS:
            home = view.runs[call.run].last_endpoint
            for one in endpoints:
                if one.id == home:
                    return one
        return least_full(endpoints)


class Atlas(Plas):
    """Attained service along the critical path: the call with the shortest path behind it first.

    What: as `Plas`, but only the longest path of calls that led here counts. Why choose it: fair
    to runs with parallel branches; no prediction; the order to fall back to. Inputs: service
    along the run's path, age. Parameters: as `Plas`. Trade-offs: long chains wait. Source:
    Autellix (arXiv 2502.13965, sec. 4.2): p(v) = max over parents u of p(u) + t(u).
    """

    def served_s(self, view: View, call: Call) -> Seconds:
        """The longest path before the call."""
        return view.path_s(call)
