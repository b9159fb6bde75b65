"""Output lengths of single questions: what a prompt's text tells of them, on the labelled sets.

Each question is a run of one call, asked of both models of the pair; all are asked at one node, so
a model's own usual length and the prompt's size are what is known without the text.
"""

import math
from collections.abc import Callable, Iterable

import msgspec
from rich.console import Console

from headway.core.desk import CHARS_PER_TOKEN
from headway.sim.assess.labelled import GRAPH, NODE, KnownQuestion, LabelledSet
from headway.sim.assess.lengths import (
    FORECASTERS,
    Clairvoyant,
    Forecaster,
    Medians,
    judge,
    output_tokens,
)
from headway.sim.assess.measures import LENGTH_COLUMNS, Scores
from headway.sim.assess.sets import JudgedSet, KnownCall, KnownRun, KnownSet, over_splits
from headway.sim.assess.tables import terminal_table
from headway.sim.assess.tfidf import Bag, Linear, TfIdf
from headway.sim.statistics import percentile

UNSENT = "headway, text not sent"


class TfIdfLengths:
    """Least squares on TF-IDF for each model; P90 by what they left over. A `Forecaster`."""

    def __init__(self) -> None:
        self._calls: list[KnownCall] = []
        self._weigher: TfIdf | None = None
        self._models: dict[str, tuple[Linear, float]] = {}

    def teach(self, run: KnownRun) -> None:
        """Kept until the first question."""
        self._calls.extend(run.calls)

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        """P50 and P90 by the words."""
        if self._weigher is None:
            self._weigher = TfIdf([call.features for call in self._calls])
            self._fit(self._weigher)
        call = run.calls[place]
        model, beyond = self._models[call.model]
        found = model.predict(self._weigher.bag(call.features))
        return max(math.expm1(found), 0.0), max(math.expm1(found + beyond), 0.0)

    def reveal(self, run: KnownRun, place: int) -> None:
        """Nothing: what was learned stays as it was."""

    def _fit(self, weigher: TfIdf) -> None:
        for name in {call.model for call in self._calls}:
            calls = [call for call in self._calls if call.model == name]
            bags: list[Bag] = [weigher.bag(call.features) for call in calls]
            logs = [math.log1p(call.output_tokens) for call in calls]
            model = Linear(bags, logs, is_chance=False)
            left = [log - model.predict(bag) for bag, log in zip(bags, logs, strict=True)]
            self._models[name] = model, max(percentile(left, 0.9), 0.0)


TEXT_COLUMNS = {**LENGTH_COLUMNS, "same_role": ("of one model", ".3f")}
TEXT_FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "constant": lambda: Medians(lambda call, place: (), output_tokens),
    "model": lambda: Medians(lambda call, place: (call.model,), output_tokens),
    UNSENT: FORECASTERS["headway"],
    "headway": FORECASTERS["headway"],
    "tf-idf": TfIdfLengths,
    "clairvoyant": lambda: Clairvoyant(output_tokens),
}


class AssessedText(JudgedSet[Scores], frozen=True, kw_only=True):
    """Output lengths of one labelled set."""

    questions: int

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.questions} questions"


def assess_text(
    labelled: LabelledSet,
    splits: int,
    *,
    clock: Callable[[], float],
    advance: Callable[[str], None],
) -> AssessedText:
    """Every forecaster on every split; `advance` is told of each."""

    def judged(name: str, train: list[KnownRun], test: list[KnownRun]) -> Scores:
        if name == UNSENT:
            train, test = _unsent(train), _unsent(test)
        return judge(TEXT_FORECASTERS[name], train, test, clock=clock)

    known = asked(labelled)
    return AssessedText(
        set_name=known.name,
        source=known.source,
        questions=len(labelled.questions),
        scores=over_splits(known, splits, TEXT_FORECASTERS, judged, advance),
    )


def asked(labelled: LabelledSet) -> KnownSet:
    """The questions as runs of one call, one for each model."""
    runs = tuple(
        KnownRun(id=f"{number}/{model}", graph=GRAPH, group=one.group, calls=(call,))
        for number, one in enumerate(labelled.questions)
        for model, call in _calls(labelled, one)
    )
    return KnownSet(name=labelled.name, source=labelled.source, runs=runs)


def _calls(labelled: LabelledSet, one: KnownQuestion) -> Iterable[tuple[str, KnownCall]]:
    told = ((labelled.pair.small, one.small_tokens), (labelled.pair.large, one.large_tokens))
    for model, tokens in told:
        yield (
            model,
            KnownCall(
                role=NODE,
                visit=1,
                step=1,
                prompt_tokens=max(int(len(one.text) / CHARS_PER_TOKEN), 1),
                output_tokens=tokens,
                model=model,
                features=one.features,
            ),
        )


def _unsent(runs: Iterable[KnownRun]) -> list[KnownRun]:
    replace = msgspec.structs.replace
    return [
        replace(run, calls=tuple(replace(call, features=()) for call in run.calls)) for run in runs
    ]


def show(console: Console, found: AssessedText) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: output length by the text, {found.questions} questions"
    console.print(terminal_table(title, TEXT_COLUMNS, found.scores))
