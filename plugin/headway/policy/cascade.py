"""The cascade: the small model first, the next larger after it failed, then stop."""

from typing import TYPE_CHECKING, Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import Run
from headway.core.learning import JUDGED_BY_NODE
from headway.core.types import Seconds
from headway.core.verdicts import failed_models
from headway.core.view import View
from headway.policy.binding import finish_s
from headway.policy.placing import earliest_finish
from headway.policy.sizes import models_by_size
from headway.policy.steps import step_s
from headway.predict.limits import OutputLimits

if TYPE_CHECKING:
    from headway.core.facts import Event


class Cascade:
    """Small, then larger, then stop: the baseline to fear.

    What. Each attempt goes to the smallest model that has not failed in this run; once the largest
    has, another attempt is not worth it. Shortest predicted answer first, where it is done first.
    With `limit`, an answer may have only as many tokens as are worth it (`OutputLimits`): one lost
    costs `failure_s`, or if that is less and `capped` the next larger model's attempt, queued as it
    would be now.
    Why choose it: where a failure shows and the small model is good, nothing beats it (our own
    study B, its sections 3 and 7). Inputs: failures seen in the run, lengths, loads. Parameters:
    `limit` (off or on), `failure_s`, `capped`.
    Trade-offs: no use of confidence, so hard questions always pay for the small model first; no
    end of low latency; where failures do not show it is small-only.

    Source: FrugalGPT (arXiv 2305.05176, section 3) without its scoring model: the graph's own
    verdict decides. Size is the declared decode step. The limit is not in the source; it is learned
    from answers judged by loops and feedback (and nodes that failed: one that ended well says
    little), runs that explore go without it; no limit, a capped and an uncapped one are swept.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = (
        {"limit": False},
        {"limit": True},
        {"limit": True, "capped": False},
    )

    def __init__(
        self, *, limit: bool = False, failure_s: Seconds = 300.0, capped: bool = True
    ) -> None:
        if failure_s <= 0:
            raise ValueError("failure_s must be > 0")
        self._limit = limit
        self._failure_s = failure_s
        self._capped = capped
        self._limits = OutputLimits()

    # -- the rule --------------------------------------------------------------------------------

    def order(self, view: View, call: Call) -> float:
        """Predicted output tokens of the model whose turn it is."""
        return view.output(call, _turn(view, call)[0]).p50

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the model whose turn it is; while it is down those of the next."""
        candidates = view.candidates(call)
        for model in _turn(view, call):
            if found := [one for one in candidates if one.spec.model == model]:
                return found
        return candidates

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """Where it is done first."""
        return earliest_finish(view, call, endpoints)

    def output_limit(self, view: View, call: Call, endpoint: Endpoint) -> int | None:
        """The most tokens that an answer is worth there; None without `limit`."""
        if not self._limit or view.runs[call.run].explores:
            return None
        model = endpoint.spec.model
        sizes = models_by_size(view, call)
        larger = sizes[sizes.index(model) + 1 :]
        failure_s = self._failure_s
        if larger and self._capped:
            up = [one for one in view.candidates(call) if one.spec.model == larger[0]]
            failure_s = min([failure_s, *(finish_s(view, call, one) for one in up)])
        query, token_s = view.query(call, model), step_s(view, endpoint, call.prompt_tokens)
        return self._limits.limit(query, s_per_token=token_s, failure_s=failure_s)

    # -- advice and learning ---------------------------------------------------------------------

    def worth_retrying(self, view: View, run: Run, node_name: str) -> bool:
        """Whether a larger model is left that has not failed, the last answer counted as failed."""
        last = next((one for one in reversed(run.calls) if one.model), None)
        topology = view.topologies.get(run.graph)
        if last is None:
            return True
        failed = failed_models(run, topology, node_name) if topology is not None else ()
        largest = models_by_size(view, last)[-1:]
        return not set(largest) & {*failed, last.model}

    def heed(self, event: "Event", view: View) -> None:
        """Lengths of answers whose worth has shown."""
        for one in view.judged:
            if one.output_tokens is None or (one.ok and one.source == JUDGED_BY_NODE):
                continue
            self._limits.learn(one.query, one.output_tokens, one.ok)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {"limits": self._limits.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        self._limits.restore(snapshot["limits"])


def _turn(view: View, call: Call) -> tuple[str, ...]:
    """The models that have not failed, smallest first; the largest if all have."""
    sizes = models_by_size(view, call)
    failed = view.failed(call)
    return tuple(model for model in sizes if model not in failed) or sizes[-1:]
