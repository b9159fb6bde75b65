"""Clairvoyant bounds: the same policies with forecasts that know the truth.

What they show is how much better forecasts could still make a policy, never what a
policy can do. True lengths and structure replace the learned ones; true correctness replaces
the cell's confidence source.
"""

from collections.abc import Mapping
from typing import Any

from headway.core.errors import ConfigError, nearest
from headway.core.protocols import Confidence, Estimate, Policy, Query
from headway.core.types import Seconds
from headway.policy import make_policy
from headway.policy.binding import ReleasedLate
from headway.policy.srpt import Srpt
from headway.predict.foresight import OnlineForesight
from headway.sim.confidence import make_confidence, parse_confidence
from headway.sim.luck import Luck
from headway.sim.plans import WORDS_ABOUT_A_FAILURE, Planned
from headway.sim.pools import SimPool
from headway.sim.trace import TraceRun

BOUNDS = ("clairvoyant", "clairvoyant-correct", "clairvoyant-length", "clairvoyant-srpt")
"""Headway with all that is true; with true correctness; with true lengths; and true SRPT."""


class _Truth:
    """What the runs of a cell will really do, by run and call."""

    def __init__(self, planned: Mapping[str, Planned], pool: SimPool, luck: Luck) -> None:
        self._planned = planned
        self._luck = luck
        self._profile = next(site.profile for site in pool.sites if site.model == pool.reference)
        self._reference = pool.reference
        self._answers: dict[tuple[str, str], int] = {}
        self._rests: dict[int, list[tuple[Seconds, float]]] = {}

    def output_tokens(self, query: Query) -> float | None:
        """Tokens of the call if `query.model` answers it; None for a call that nobody plans."""
        plan = self._planned.get(query.run)
        if plan is None:
            return None
        model = query.model or self._reference
        if not plan.run.nodes:
            nth = self._answers.get((query.run, model), 0)
            return float(self._luck.answer(query.run, model, nth).output_tokens)
        node = plan.run.nodes[int(query.call.rpartition("/")[2])]
        return float(node.outputs.get(model, node.output_tokens))

    def answered(self, query: Query) -> None:
        """A call was answered: the next answer of that model is another one."""
        key = (query.run, query.model)
        self._answers[key] = self._answers.get(key, 0) + 1

    def rest(self, query: Query) -> tuple[Seconds, float] | None:
        """Stand-alone seconds and output tokens from the call's node to the end of the run."""
        plan = self._planned.get(query.run)
        if plan is None:
            return None
        if not plan.run.nodes:
            return self._rest_of_question(plan, int(query.call.rpartition("/")[2]))
        rests = self._rests.get(id(plan.run))
        if rests is None:
            rests = self._rests[id(plan.run)] = self._rests_of(plan.run)
        return rests[int(query.call.rpartition("/")[2])]

    def _rest_of_question(self, plan: Planned, attempt: int) -> tuple[Seconds, float]:
        """What is left from an attempt on if the reference model answers, until it is right."""
        question = self._luck.question(plan.id)
        nth = self._answers.get((plan.id, self._reference), 0)
        prompt, seconds, tokens = question.prompt_tokens, 0.0, 0.0
        for number in range(attempt, plan.attempts + 1):
            answer = self._luck.answer(plan.id, self._reference, nth)
            seconds += self._alone_s(prompt, answer.output_tokens)
            tokens += answer.output_tokens
            if self._luck.verdict(plan.id, number, answer.ok):
                break
            nth += 1
            prompt += answer.output_tokens + WORDS_ABOUT_A_FAILURE
            seconds += plan.pause_s
        return seconds, tokens

    def _rests_of(self, run: TraceRun) -> list[tuple[Seconds, float]]:
        """For each node; siblings count by their maximum in seconds, by their sum in tokens."""
        count = len(run.nodes)
        seconds = [0.0] * count
        after = [0.0] * count
        depth: list[int] = []
        for node in run.nodes:
            depth.append(1 + max((depth[parent] for parent in node.parents), default=0))
        tokens_from: dict[int, float] = {}
        for place in range(count - 1, -1, -1):
            node = run.nodes[place]
            tokens_from[depth[place]] = tokens_from.get(depth[place], 0.0) + node.output_tokens
            own_s = self._alone_s(node.prompt_tokens, node.output_tokens)
            seconds[place] = own_s + after[place]
            for parent in node.parents:
                after[parent] = max(after[parent], node.tool_s + seconds[place])
        total, summed = 0.0, {}
        for step in sorted(tokens_from, reverse=True):
            total += tokens_from[step]
            summed[step] = total
        return [(seconds[place], summed[depth[place]]) for place in range(count)]

    def _alone_s(self, prompt_tokens: int, output_tokens: int) -> Seconds:
        if not prompt_tokens:
            return 0.0
        return self._profile.alone_s(
            prompt_tokens=prompt_tokens, output_tokens=max(output_tokens, 1)
        )


class _True:
    """A `Predictor` that knows; what nobody planned is left to the learned one."""

    def __init__(self, truth: _Truth, part: str, learned: Any) -> None:
        self._truth = truth
        self._part = part
        self._learned = learned

    def estimate(self, query: Query) -> Estimate:
        """The truth, as median and P90 alike."""
        if self._part == "output":
            value = self._truth.output_tokens(query)
        else:
            rest = self._truth.rest(query)
            value = None if rest is None else rest[0 if self._part == "seconds" else 1]
        if value is None:
            found: Estimate = self._learned.estimate(query)
            return found
        return Estimate(p50=value, p90=value, samples=1_000_000)

    def learn(self, query: Query, value: float) -> None:
        """Counts answers; teaches the learned one for what nobody planned."""
        if self._part == "output":
            self._truth.answered(query)
        self._learned.learn(query, value)

    def snapshot(self) -> dict[str, Any]:
        """What the learned one holds."""
        found: dict[str, Any] = self._learned.snapshot()
        return found

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back."""
        self._learned.restore(snapshot)


class TrueForesight(OnlineForesight):
    """Forecasts with true lengths and structure; prefixes and confidence are as given."""

    def __init__(
        self,
        quality: dict[str, float],
        *,
        planned: Mapping[str, Planned],
        pool: SimPool,
        luck: Luck,
    ) -> None:
        super().__init__(quality)
        truth = _Truth(planned, pool, luck)
        self.output_tokens = _True(truth, "output", self.output_tokens)
        self.rest_s = _True(truth, "seconds", self.rest_s)
        self.rest_tokens = _True(truth, "tokens", self.rest_tokens)


def clairvoyant(
    name: str,
    *,
    planned: Mapping[str, Planned],
    pool: SimPool,
    luck: Luck,
    confidence: Confidence,
) -> tuple[Policy, OnlineForesight]:
    """A bound's policy and what it foresees. `confidence` is the cell's source.

    Raises `ConfigError` for a name that is no bound.
    """
    if name not in BOUNDS:
        raise ConfigError(f"no bound {name!r}{nearest(name, BOUNDS)}")
    quality = dict(pool.quality)
    foresight = (
        OnlineForesight(quality)
        if name == "clairvoyant-correct"
        else TrueForesight(quality, planned=planned, pool=pool, luck=luck)
    )
    foresight.confidence = confidence
    if name in ("clairvoyant", "clairvoyant-correct"):
        oracle = parse_confidence("oracle")
        foresight.confidence = make_confidence(oracle, quality=quality, luck=luck)
    if name == "clairvoyant-srpt":
        return ReleasedLate(name, Srpt()), foresight
    policy = make_policy("headway")
    policy.name = name
    return policy, foresight
