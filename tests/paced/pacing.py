"""`PacedScheduler`: vLLM's scheduler, which lets each step last as long as a modelled server's.

Runs inside vLLM's environment: ``--scheduler-cls tests.paced.pacing.PacedScheduler``. Written
against vLLM 0.32 on CPU, where steps do not overlap (no async scheduling). The step times
come from the environment (`pace`); all decisions are those of the class that it extends.

What is counted is what `headway.engine.server.Engine._plan` counts:

* a sequence DECODES in a step if all its tokens but the last sampled one were computed
  before the step. It counts as one of `sequences`, and all its tokens, prompt and
  output, as `context_tokens`; its one token is not prefilled.
* every other scheduled sequence PREFILLS: it is new, its prompt is split over steps, or it
  is computed again after it was evicted. Only its tokens in this step count, as
  `prefill_tokens`: neither what the prefix cache had nor the chunks before.
"""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.v1.core.sched.scheduler import Scheduler  # type: ignore[import-not-found]

from tests.paced.pace import REPORT, Pace, Timeline

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput  # type: ignore[import-not-found]

REPORT_EVERY_S = 1.0


class PacedScheduler(Scheduler):  # type: ignore[misc]
    """Sleeps after each step until its modelled time has passed. Use: ``--scheduler-cls``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pace = Pace.from_environment(os.environ)
        self._timeline = Timeline()
        self._report = Report(self._timeline, os.environ.get(REPORT))

    def schedule(self, *args: Any, **kwargs: Any) -> "SchedulerOutput":
        """One step's batch, as vLLM composes it; from here on its time runs."""
        began = time.monotonic()
        computed = {request.request_id for request in self.running if not request.is_prefill_chunk}
        output = super().schedule(*args, **kwargs)
        if output.total_num_scheduled_tokens:
            self._timeline.begin(self._seconds(output, computed), at=began)
        return output

    def update_from_output(self, scheduler_output: "SchedulerOutput", *args: Any) -> Any:
        """Take in what the step computed, once the step is due."""
        if not scheduler_output.total_num_scheduled_tokens:
            # Nothing can run as yet: it is paused, or a grammar is being compiled.
            self._timeline.pause()
            return super().update_from_output(scheduler_output, *args)
        time.sleep(self._timeline.worked(at=time.monotonic()))
        outputs = super().update_from_output(scheduler_output, *args)
        idle = not self.has_unfinished_requests()
        if idle:
            self._timeline.pause()
        self._report.tell(at=time.monotonic(), now=idle)
        return outputs

    def shutdown(self) -> None:
        """The engine ends."""
        self._report.tell(at=time.monotonic(), now=True)
        super().shutdown()

    def _seconds(self, output: "SchedulerOutput", computed: set[str]) -> float:
        """How long a step must take. `computed` ran before it with nothing left to prefill."""
        sequences = context_tokens = prefill_tokens = 0
        resumed = output.scheduled_cached_reqs.resumed_req_ids
        for request_id, tokens in output.num_scheduled_tokens.items():
            if request_id in computed and request_id not in resumed:
                sequences += 1
                context_tokens += self.requests[request_id].num_tokens
            else:
                prefill_tokens += tokens
        return self._pace.seconds(
            sequences=sequences, context_tokens=context_tokens, prefill_tokens=prefill_tokens
        )


class Report:
    """Appends a process's `Lateness` to a file: each second, when it falls idle, when it ends."""

    def __init__(self, timeline: Timeline, path: str | None) -> None:
        self._timeline = timeline
        self._path = Path(path) if path else None
        self._told_at = 0.0

    def tell(self, *, at: float, now: bool = False) -> None:
        """Append a line if one is due at `at`, or at once."""
        if self._path is None or (at - self._told_at < REPORT_EVERY_S and not now):
            return
        self._told_at = at
        record = {"pid": os.getpid(), **asdict(self._timeline.lateness)}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
