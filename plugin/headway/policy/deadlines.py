"""Orders by deadline. Runs without one come last, by arrival."""

from headway.core.calls import Call
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.placing import Plain

NEVER_S = 5e5
"""Where runs without a deadline begin to be ordered: later than any deadline, within urgencies."""


def due_at(view: View, call: Call) -> Seconds | None:
    """When the whole run should have ended, without waiting for people; None: no deadline.

    Seconds since the scheduler began: an instant of a clock that counts from a boot may be more
    than an urgency can tell.
    """
    deadline_s = view.deadline_s(call)
    return None if deadline_s is None else view.at - view.began - view.age_s(call) + deadline_s


def _undue(view: View, call: Call) -> float:
    return NEVER_S + view.runs[call.run].root.started_at - view.began


class EarliestDeadline(Plain):
    """Earliest deadline first (EDF).

    What: calls of the run that is due soonest go first. Why choose it: the optimal order for
    one machine if all deadlines can be met. Inputs: deadlines of runs or their classes.
    Parameters: none. Trade-offs: collapses under overload, where it serves what is lost anyway;
    with one class it is order of arrival of the runs. Source: Liu and Layland 1973; Maestro's
    baseline (arXiv 2606.12950). order = start of the run + deadline.
    """

    def order(self, view: View, call: Call) -> float:
        """When the run is due."""
        due = due_at(view, call)
        return _undue(view, call) if due is None else due


class LeastLaxity(Plain):
    """Least laxity first (LLF).

    What: calls of the run that can least afford to wait go first. Why choose it: knows that of
    two runs due at once the longer one is in a hurry. Inputs: deadlines, predicted rest of the
    run. Parameters: none. Trade-offs: as `EarliestDeadline`, and worse in bursts. Source: Mok
    1983; HexAGenT's baseline Workflow-LLF (arXiv 2605.16637). laxity = deadline - age - rest; the
    order adds the time now, to be comparable between calls bound at different moments:
    start + deadline - rest, when it must start to be done in time.
    """

    def order(self, view: View, call: Call) -> float:
        """When what is left of the run must start."""
        due = due_at(view, call)
        return _undue(view, call) if due is None else due - call.rest_s
