"""`Pace`: how long a step takes; `Timeline`: when it is due; `Lateness`: how far it was missed.

Pure, without clock and third-party imports: used inside vLLM's environment by
`pacing`, and by the project to say what it wants and to read what came of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

STEP_S = "HEADWAY_PACE_STEP_S"
PREFILL_S = "HEADWAY_PACE_PREFILL_S"
SEQ_S = "HEADWAY_PACE_SEQ_S"
CONTEXT_S = "HEADWAY_PACE_CONTEXT_S"
REPORT = "HEADWAY_PACE_REPORT"
"""File to which a server appends its `Lateness`, one JSON object with its ``pid`` a line."""

CATCH_UP_S = 0.1
"""Most lateness that later steps make up for. What is beyond it is lost, and counted as slipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The step times of `headway.engine.EngineProfile`, in seconds a step, token or sequence."""

    step_s: float
    prefill_s: float = 0.0
    seq_s: float = 0.0
    context_s: float = 0.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Pace":
        """Raises KeyError without a step time, ValueError for what is no number."""
        return cls(
            step_s=float(environ[STEP_S]),
            prefill_s=float(environ.get(PREFILL_S, 0)),
            seq_s=float(environ.get(SEQ_S, 0)),
            context_s=float(environ.get(CONTEXT_S, 0)),
        )

    def environment(self) -> dict[str, str]:
        """What `from_environment` reads this pace from, to the last bit."""
        return {
            STEP_S: repr(self.step_s),
            PREFILL_S: repr(self.prefill_s),
            SEQ_S: repr(self.seq_s),
            CONTEXT_S: repr(self.context_s),
        }

    def seconds(self, *, sequences: int, context_tokens: int, prefill_tokens: int) -> float:
        """Seconds of a step, by the formula of `EngineProfile.step_time_s`."""
        return (
            max(self.step_s, prefill_tokens * self.prefill_s)
            + sequences * self.seq_s
            + context_tokens * self.context_s
        )


@dataclass(slots=True, kw_only=True)
class Lateness:
    """How well a server kept its pace, summed over its steps.

    A step is late if vLLM's own work ended after the step was due; `late_s` is by how
    much in all, `worst_s` at most. Later steps make most of it up; `slipped_s` is what
    they could not: by so much the server was slower than its profile. `paced_s` is the
    time that all steps should have taken, `own_s` what vLLM itself worked in them.
    """

    steps: int = 0
    paced_s: float = 0.0
    own_s: float = 0.0
    late_steps: int = 0
    late_s: float = 0.0
    worst_s: float = 0.0
    slipped_s: float = 0.0

    @property
    def slipped(self) -> float:
        """Share of the modelled time by which the server was slower than its profile."""
        return self.slipped_s / self.paced_s if self.paced_s else 0.0

    @classmethod
    def of_records(cls, records: Iterable[Mapping[str, Any]]) -> "Lateness":
        """Of the report of one server.

        A server that was started again is a process of its own that counts from
        zero: each process's last record counts.
        """
        last = {record["pid"]: record for record in records}
        total = cls()
        for record in last.values():
            worst_s = max(total.worst_s, record["worst_s"])
            for field in fields(cls):
                setattr(total, field.name, getattr(total, field.name) + record[field.name])
            total.worst_s = worst_s
        return total


class Timeline:
    """When each step is due, and what was late. Times are of one monotonic clock, in seconds.

    While a server is busy, a step begins in modelled time where the one before was due:
    neither a sleep that lasts too long nor vLLM's work between two steps adds up.
    After a pause a step begins when it is scheduled.
    """

    def __init__(self) -> None:
        self.lateness = Lateness()
        self._due: float | None = None
        self._scheduled_at = 0.0

    def begin(self, seconds: float, *, at: float) -> None:
        """A step that should take `seconds` was begun at `at`."""
        start = at
        if self._due is not None:
            start = max(self._due, at - CATCH_UP_S)
            self.lateness.slipped_s += start - self._due
        self._scheduled_at = at
        self._due = start + seconds
        self.lateness.steps += 1
        self.lateness.paced_s += seconds

    def worked(self, *, at: float) -> float:
        """The step's work ended at `at`: the seconds to wait until it is due, 0 if it is late."""
        if self._due is None:
            return 0.0
        self.lateness.own_s += at - self._scheduled_at
        left = self._due - at
        if left < 0:
            self.lateness.late_steps += 1
            self.lateness.late_s -= left
            self.lateness.worst_s = max(self.lateness.worst_s, -left)
        return max(0.0, left)

    def pause(self) -> None:
        """There is nothing more to do: the next step begins when it is scheduled."""
        self._due = None
