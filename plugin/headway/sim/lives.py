"""Runs and calls under way in a cell, and what is left of them when they are over."""

from dataclasses import dataclass, field

from headway.core.facts import CallReady
from headway.core.types import NodeId, Seconds
from headway.engine import Finished
from headway.sim.bodies import Body
from headway.sim.outcomes import CallOutcome, RunOutcome
from headway.sim.plans import Planned

CHARS_PER_TOKEN = 4
"""As the scheduler counts: so prompts are told exactly."""


@dataclass(slots=True, kw_only=True)
class Life:
    """One run under way. `answers` counts a question's answers by model."""

    plan: Planned
    body: Body
    offset: int
    waits_for: list[int]
    open_nodes: int = 0
    paused_s: Seconds = 0.0
    attempt: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    last_node: NodeId | None = None
    ok: bool | None = None
    cost: float = 0.0
    failed: bool = False
    calls: list[CallOutcome] = field(default_factory=list)

    def outcome(self, at: Seconds) -> RunOutcome:
        """The run as it went; it ended at `at`, well or not."""
        plan = self.plan
        return RunOutcome(
            id=plan.id,
            graph=plan.run.graph,
            arrived_s=plan.arrival_s,
            ended_s=None if self.failed else at,
            alone_s=plan.alone_s,
            deadline_s=plan.deadline_s,
            paused_s=self.paused_s,
            ok=False if self.failed and plan.run.question is not None else self.ok,
            failed=self.failed,
            tenant=plan.tenant,
            service_class=plan.service_class,
            cost=self.cost,
            calls=tuple(self.calls),
        )


@dataclass(slots=True, kw_only=True)
class Sent:
    """One call under way: `truth` is what the endpoint's model will write, `right` if it does."""

    life: Life
    place: int
    ask: CallReady
    prefix: tuple[int, ...]
    ready_s: Seconds
    site: str = ""
    model: str = ""
    released_s: Seconds = 0.0
    first_s: Seconds = 0.0
    reserved: float = 0.0
    truth: int = 0
    right: bool | None = None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the call's prompt."""
        return self.ask.prompt_chars // CHARS_PER_TOKEN

    def outcome(self, at: Seconds, done: Finished, reference_tokens: int) -> CallOutcome:
        """The call as it went; its answer was there at `at`."""
        return CallOutcome(
            run=self.life.plan.id,
            node=self.ask.node_name,
            endpoint=self.site,
            model=self.model,
            ready_s=self.ready_s,
            released_s=self.released_s,
            first_token_s=done.first_token_at,
            ended_s=at,
            prompt_tokens=self.prompt_tokens,
            hit_tokens=done.cached_tokens,
            output_tokens=done.output_tokens,
            reference_tokens=reference_tokens,
            reserved_tokens=self.reserved,
            max_tokens=self.ask.max_tokens or done.output_tokens,
            preemptions=done.preemptions,
        )
