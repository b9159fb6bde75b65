"""`TextConfidence`: base rates, moved by what the prompt's text says where that has been right.

What. The logit of the base rate (`BaseRates`) plus what a head per model has learned of the
text (`head`), as far as the text is of the kind that was learned from (`coverage`); after another
model's failure with two slopes of their own (`after_failure`). Used only at places where its
forecasts have beaten the base rate (`gate`): else, and for a query without features, the answer
is the base rate's.

Why choose it: prompts of one node differ, and a base rate cannot tell them apart. Inputs: the
query's place, model and hashed features (`prompts.features`). Trade-offs: silent for the
first two hundred judged answers of a model, and learning one takes about a millisecond; a model's
own repeats are left to the base rate; what a prompt says of what a *larger* model would add is
little. How well, and how little: docs/prediction.md. Source: ours.
"""

from typing import Any

from headway.core.prompts import Sample
from headway.core.protocols import Query
from headway.predict.after_failure import AfterFailure
from headway.predict.confidence import CHANCE_RANGE, BaseRates
from headway.predict.gate import Gate
from headway.predict.head import Head
from headway.predict.slopes import logit, sigmoid

FORMAT = 2
"""Of the snapshot's part about texts; of another one only the base rates are taken."""
MAX_MODELS = 12
MAX_PAIRS = 64


class TextConfidence:
    """Implements `Confidence`. `quality` is the user's prior per model."""

    def __init__(self, quality: dict[str, float]) -> None:
        self._rates = BaseRates(quality)
        self._heads: dict[str, Head] = {}
        self._pairs: dict[tuple[str, str], AfterFailure] = {}
        self._gate = Gate()
        self._last: tuple[tuple[int, ...], Sample] = ((), Sample(()))

    def chance(self, query: Query, failed: tuple[str, ...] = (), *, explore: bool = False) -> float:
        """Probability in (0, 1), given the models that have failed at this so far in the run.

        With `explore` the text counts as if nothing had failed.
        """
        simple = self._rates.chance(query, failed, explore=explore)
        if not query.features:
            return simple
        before = () if explore else failed
        if not self._gate.believes(_place(query, before)):
            return simple
        moved = self._moved(query, before, simple)
        return simple if moved is None else moved

    def reading(self, query: Query, failed: tuple[str, ...] = ()) -> float | None:
        """The chance by the text, whether it is believed or not; None where there is no saying."""
        return self._moved(query, failed, self._rates.chance(query, failed))

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """How an answer was judged. Raises `ValueError` for a source that is not known."""
        rates = self._rates
        if not query.features or query.model in failed:
            rates.learn(query, ok, source=source, failed=failed)
            return
        simple = rates.chance(query, failed)
        rates.learn(query, ok, source=source, failed=failed)
        if not rates.counts(query, source):
            return
        moved = self._moved(query, failed, simple)
        place = _place(query, failed)
        if moved is not None:
            self._gate.judge(place, moved, simple, ok)
        sample = self._sample(query.features)
        head = self._heads.get(query.model)
        if head is None:
            head = _made(self._heads, query.model, Head, MAX_MODELS)
        if failed and head.ready:
            key = (failed[-1], query.model)
            pair = self._pairs.get(key) or _made(self._pairs, key, AfterFailure, MAX_PAIRS)
            shift, other, _ = self._shifts(head, failed, sample)
            pair.learn((shift, other), place, logit(simple), ok)
        head.learn(sample, place, logit(simple), ok)

    def _moved(self, query: Query, failed: tuple[str, ...], simple: float) -> float | None:
        head = self._heads.get(query.model)
        if head is None or not head.ready or query.model in failed:
            return None
        sample = self._sample(query.features)
        shift, other, trust = self._shifts(head, failed, sample)
        if failed:
            pair = self._pairs.get((failed[-1], query.model))
            if pair is None:
                return None
            shift = pair.shift(shift, other)
        low, high = CHANCE_RANGE
        return min(max(sigmoid(logit(simple) + trust * shift), low), high)

    def _shifts(
        self, head: Head, failed: tuple[str, ...], sample: Sample
    ) -> tuple[float, float, float]:
        """By the model's head and by that of who failed last, and how far to trust both."""
        shift, trust = head.shift(sample), head.trust(sample)
        other = self._heads.get(failed[-1]) if failed else None
        if other is None or not other.ready:
            return shift, 0.0, trust
        return shift, other.shift(sample), min(trust, other.trust(sample))

    def _sample(self, features: tuple[int, ...]) -> Sample:
        """The features unpacked; a policy asks of one prompt for one model after the other."""
        if features is not self._last[0]:
            self._last = (features, Sample(features))
        return self._last[1]

    # -- what was learned ------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types; no text is in it, but hashed words are."""
        found = self._rates.snapshot()
        if self._heads:
            found["texts"] = {
                "format": FORMAT,
                "heads": [[model, head.saved()] for model, head in self._heads.items()],
                "pairs": [[*key, pair.saved()] for key, pair in self._pairs.items()],
                "gate": self._gate.saved(),
            }
        return found

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back, one of `BaseRates` too.

        Raises `KeyError`, `TypeError` or `ValueError` if it is none.
        """
        texts = snapshot.get("texts", {"format": 0})
        heads: dict[str, Head] = {}
        pairs: dict[tuple[str, str], AfterFailure] = {}
        gate = Gate()
        if texts["format"] == FORMAT:
            heads = {model: Head.loaded(saved) for model, saved in texts["heads"]}
            pairs = {
                (failed, model): AfterFailure.loaded(saved)
                for failed, model, saved in texts["pairs"]
            }
            gate = Gate.loaded(texts["gate"])
        self._rates.restore(snapshot)
        self._heads, self._pairs, self._gate = heads, pairs, gate


def _place(query: Query, failed: tuple[str, ...]) -> tuple[str, ...]:
    return (query.graph, query.node, query.model, *failed[-1:])


def _made(known: dict[Any, Any], key: Any, make: Any, most: int) -> Any:
    """A new one under `key`; of too many the half that was met first goes."""
    if len(known) >= most:
        for old in list(known)[: most // 2]:
            del known[old]
    found = known[key] = make()
    return found
