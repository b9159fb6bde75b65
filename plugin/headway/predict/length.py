"""`OutputLength`: how many tokens a call will write, from its place and from its run so far.

What. Two forecasts live side by side. The sketch knows what calls at this place of a graph
usually write (running quantiles, shrunk to more general places). The regression adds what the
run has shown (how its answers so far compare with what is typical of their nodes, how the
prompt has grown, how often the node has been here) and what the request asks for (its limit,
tools, a response format, what can be counted about its text: `trails`), by online ridge
regression for each node (`ridge`). For each place the one that has erred less on its recent
calls, each forecast before the truth was known, is used.

Why choose it: it orders the calls of role-playing and coding agents better than medians of roles
do (by how much: docs/prediction.md, made by `headway assess`); where the place says all, the
sketch stays. Inputs: graph, node, visit, model, step, prompt size, earlier answers and the tools
that they called, the request's limit and needs, its text's counts where a pool name sends it.
Trade-offs: needs some tens of calls of a node; what a text says beyond its counts is not looked at.
Source: ours; that a run's own factor carries over between its calls is the finding that it
stands on.
"""

from collections.abc import Iterable
from math import expm1, log1p
from typing import Any

from headway.core.protocols import Estimate, Query
from headway.predict.quantiles import output_length
from headway.predict.ridge import NodeRidge
from headway.predict.trails import FEATURES, Done, Trail, features_of, new_trail
from headway.predict.typical import Typical

MAX_TRAILS = 2_000
MOST_TOKENS = 1e7
"""Counts beyond it are somebody's mistake."""
FADING = 0.99
"""Of a forecast's past errors, with each new call: about the last hundred count."""
LEAST_JUDGED = 20
"""Calls of a place before the regression may be believed there."""
LONGEST_LOG = 16.0


class OutputLength:
    """A `Predictor` of output tokens."""

    def __init__(self) -> None:
        self._sketch = output_length()
        place = ("graph", "node")
        self._typical = Typical(((), ("model",), place, (*place, "model")), prior=200.0)
        self._visits = Typical(((), place, (*place, "visit")), prior=200.0)
        self._prompts = Typical(((), place), prior=1000.0)
        self._ridge = NodeRidge(len(FEATURES))
        self._trails: dict[str, Trail] = {}
        self._errors: dict[tuple[str, str], list[float]] = {}

    def estimate(self, query: Query) -> Estimate:
        """The prediction; learns nothing. 0 <= p50 <= p90."""
        sketched = self._sketch.estimate(query)
        if not self._believes_regression(query):
            return sketched
        base = self._typical.log(query)
        found = self._ridge.predict((query.graph, query.node), self._features(query))
        if found is None:
            return sketched
        p50, p90 = (expm1(min(max(base + one, 0.0), LONGEST_LOG)) for one in found)
        return Estimate(p50=p50, p90=max(p50, p90), samples=sketched.samples)

    def learn(self, query: Query, value: float) -> None:
        """What it really was. Counts that cannot be are left out."""
        if not 0.0 <= value <= MOST_TOKENS:
            return
        place = (query.graph, query.node)
        truth = log1p(value)
        base = self._typical.log(query)
        features = self._features(query)
        found = self._ridge.predict(place, features)
        if found is not None:
            sketched = log1p(self._sketch.estimate(query).p50)
            self._judge(place, truth - sketched, truth - base - found[0])
        self._ridge.learn(place, features, truth - base)
        self._sketch.learn(query, value)
        self._typical.learn(query, truth)
        self._visits.learn(query, truth)
        if query.prompt_tokens > 0:
            self._prompts.learn(query, log1p(query.prompt_tokens))
        self._followed(query, truth, base)

    def follow(self, query: Query, value: float) -> None:
        """What a call of a run really wrote, for the rest of that run only: nothing is learned."""
        if 0.0 <= value <= MOST_TOKENS:
            base = self._typical.log(query)
            self._followed(query, log1p(value), base)

    def _followed(self, query: Query, truth: float, base: float) -> None:
        if not query.run:
            return
        prompt_tokens = max(query.prompt_tokens, 0)
        trail = self._trails.get(query.run)
        if trail is None:
            if len(self._trails) >= MAX_TRAILS:
                for old in list(self._trails)[: MAX_TRAILS // 2]:
                    del self._trails[old]
            trail = self._trails[query.run] = new_trail()
        trail.append(
            Done(
                step=query.step,
                node=query.node,
                prompt=log1p(prompt_tokens),
                answer=truth,
                over=truth - base,
                tokens=prompt_tokens + round(expm1(truth)),
            )
        )

    def _features(self, query: Query) -> list[float]:
        return features_of(
            self._trails.get(query.run) or new_trail(),
            query,
            # a prompt that nobody counted is as typical as any
            typical_prompt=self._prompts.log(query) if query.prompt_tokens > 0 else 0.0,
            visit_over=self._visits.over(query),
        )

    # -- which of the two is believed ------------------------------------------------------------

    def _judge(self, place: tuple[str, str], sketch_off: float, ridge_off: float) -> None:
        errors = self._errors.get(place)
        if errors is None:
            if len(self._errors) >= MAX_TRAILS:
                for old in list(self._errors)[: MAX_TRAILS // 2]:
                    del self._errors[old]
            errors = self._errors[place] = [0.0, 0.0, 0.0]
        errors[0] += 1.0
        errors[1] = FADING * errors[1] + (1.0 - FADING) * abs(sketch_off)
        errors[2] = FADING * errors[2] + (1.0 - FADING) * abs(ridge_off)

    def _believes_regression(self, query: Query) -> bool:
        errors = self._errors.get((query.graph, query.node))
        return errors is not None and errors[0] >= LEAST_JUDGED and errors[2] < errors[1]

    # -- what was learned ------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "sketch": self._sketch.snapshot(),
            "typical": self._typical.saved(),
            "visits": self._visits.saved(),
            "prompts": self._prompts.saved(),
            "ridge": self._ridge.snapshot(),
            "trails": [
                [run, [one.saved() for one in trail]] for run, trail in self._trails.items()
            ],
            "errors": [[*place, *errors] for place, errors in self._errors.items()],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError`, `TypeError` or `ValueError` if it is none."""
        if "windows" in snapshot:  # of a version that knew places only
            self._sketch.restore(snapshot)
            return
        self._sketch.restore(snapshot["sketch"])
        if not self._ridge.restore(snapshot["ridge"]):
            return  # how another version's regression did says nothing of one that begins anew
        self._typical.load(snapshot["typical"])
        self._visits.load(snapshot["visits"])
        self._prompts.load(snapshot["prompts"])
        self._trails = {run: _trail(saved) for run, saved in snapshot["trails"]}
        self._errors = {
            (graph, node): [float(one) for one in errors]
            for graph, node, *errors in snapshot["errors"]
        }


def _trail(saved: Iterable[list[Any]]) -> Trail:
    trail = new_trail()
    trail.extend(Done(*one) for one in saved)
    return trail
