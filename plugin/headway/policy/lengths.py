"""Orders by predicted length of the call alone."""

from headway.core.calls import Call
from headway.core.view import View
from headway.policy.placing import Plain

STARVED = -1.0


class ShortestCall(Plain):
    """The shortest predicted answer first, as learning to rank (LTR) has it.

    What: calls in order of predicted output tokens; one that was overtaken too often goes before
    all. Why choose it: the best mean for single calls. Inputs: predicted output (of the
    candidate that says least). Parameters: `overtaken`, the releases of others after which a held
    call is starved (0: never). Trade-offs: blind to runs: a short call of a long run passes a
    long call of a short one. Source: LTR (arXiv 2408.15792): order = predicted rank of the
    length, with a starvation counter; its threshold is open. The source counts scheduling steps,
    we count releases. Bound at once a call is not held, so the threshold does nothing and is not
    swept. Calls are not cut, so its quantum has no use here.
    """

    def __init__(self, *, overtaken: int = 128) -> None:
        if overtaken < 0:
            raise ValueError("overtaken must be >= 0")
        self._overtaken = overtaken

    def order(self, view: View, call: Call) -> float:
        """Predicted output tokens."""
        if self._overtaken and view.overtaken(call) >= self._overtaken:
            return STARVED
        models = dict.fromkeys(view.endpoints[one].spec.model for one in call.candidates)
        return min((view.output(call, model).p50 for model in models), default=0.0)
