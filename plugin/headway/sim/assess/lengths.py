"""Forecasts of output length on recorded runs: ours, and the simple ones to beat.

Each learns from the train half, run after run. On the test half only the runs themselves are
revealed, call by call: what was learned stays as it was.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from headway.core.protocols import Predictor, Query
from headway.predict.length import OutputLength
from headway.predict.quantiles import output_length
from headway.sim.assess.boosted import Boosted, installed
from headway.sim.assess.measures import Scores, scores
from headway.sim.assess.sets import KnownCall, KnownRun
from headway.sim.statistics import percentile

MOST_POSITION = 200


class Forecaster(Protocol):
    """Something that foresees the length of a call."""

    def teach(self, run: KnownRun) -> None:
        """A run of the train half, whole."""
        ...

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        """P50 and P90 of the call at `place`, whose run is known up to the step before."""
        ...

    def reveal(self, run: KnownRun, place: int) -> None:
        """The call at `place` of a run of the test half was answered."""
        ...


Truth = Callable[[KnownRun], Sequence[float]]
"""What is to be foreseen of each of a run's calls."""


def output_tokens(run: KnownRun) -> Sequence[float]:
    """What each call wrote."""
    return [float(call.output_tokens) for call in run.calls]


class Medians:
    """Medians and P90 of the train half, by a key of the call; the whole where a key is new."""

    def __init__(self, key: Callable[[KnownCall, int], tuple[object, ...]], truth: Truth) -> None:
        self._key = key
        self._truth = truth
        self._values: dict[tuple[object, ...], list[float]] = {}
        self._known: dict[tuple[object, ...], tuple[float, float]] = {}

    def teach(self, run: KnownRun) -> None:
        """Every call counts once."""
        for place, (call, true) in enumerate(zip(run.calls, self._truth(run), strict=True)):
            for key in {(), self._key(call, place)}:
                self._values.setdefault(key, []).append(true)
        self._known.clear()

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        """P50 and P90 of the calls of its key."""
        key = self._key(run.calls[place], place)
        if key not in self._values:
            key = ()
        if key not in self._known:
            values = self._values[key]
            self._known[key] = (percentile(values, 0.5), percentile(values, 0.9))
        return self._known[key]

    def reveal(self, run: KnownRun, place: int) -> None:
        """Nothing: it looks at no run."""


class _Predicted:
    """A predictor of the scheduler's. `follow` is told what the run of a forecast has shown."""

    def __init__(
        self, predictor: Predictor, follow: Callable[[Query, float], None] | None = None
    ) -> None:
        self._predictor = predictor
        self._follow = follow

    def teach(self, run: KnownRun) -> None:
        for place in range(len(run.calls)):
            self._predictor.learn(query_of(run, place), float(run.calls[place].output_tokens))

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        found = self._predictor.estimate(query_of(run, place))
        return found.p50, found.p90

    def reveal(self, run: KnownRun, place: int) -> None:
        if self._follow is not None:
            self._follow(query_of(run, place), float(run.calls[place].output_tokens))


def _ours() -> Forecaster:
    """`headway.predict.length.OutputLength`, as the daemon has it."""
    predictor = OutputLength()
    return _Predicted(predictor, predictor.follow)


class Clairvoyant:
    """Knows the truth: what the measures come to at best."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def teach(self, run: KnownRun) -> None:
        """Nothing: it knows."""

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        """It is so."""
        true = self._truth(run)[place]
        return true, true

    def reveal(self, run: KnownRun, place: int) -> None:
        """Nothing: it knows."""


SIMPLE: dict[str, Callable[[KnownCall, int], tuple[object, ...]]] = {
    "constant": lambda call, place: (),
    "role": lambda call, place: (call.role,),
    "role + position": lambda call, place: (call.role, min(place, MOST_POSITION)),
}
"""The medians to beat, by what they look at."""


def simple(truth: Truth) -> dict[str, Callable[[], Forecaster]]:
    """The medians to beat."""
    return {name: partial(Medians, key, truth) for name, key in SIMPLE.items()}


def boosted(truth: Truth) -> dict[str, Callable[[], Forecaster]]:
    """Boosted trees, where LightGBM is installed, which nothing of ours needs."""
    return {"boosted trees": partial(Boosted, truth)} if installed() else {}


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    **simple(output_tokens),
    "sketch": lambda: _Predicted(output_length()),
    **boosted(output_tokens),
    "headway": _ours,
    "clairvoyant": lambda: Clairvoyant(output_tokens),
}
"""By name."""


def query_of(run: KnownRun, place: int) -> Query:
    """What a scheduler asks before the call at `place`."""
    call = run.calls[place]
    return Query(
        graph=run.graph,
        node=call.role,
        visit=call.visit,
        model=call.model,
        run=run.id,
        call=f"{run.id}/{place}",
        step=call.step,
        prompt_tokens=call.prompt_tokens,
        features=call.features,
        past=call.past,
        ahead=call.ahead,
    )


def judge(
    make: Callable[[], Forecaster],
    train: Iterable[KnownRun],
    test: list[KnownRun],
    *,
    clock: Callable[[], float],
) -> Scores:
    """Teach, then foresee every call of the test half; `clock` (seconds) times the forecasts."""
    forecaster = make()
    for run in train:
        forecaster.teach(run)
    found = list(foreseen(forecaster, test, clock=clock))
    calls = [test[one.run].calls[one.place] for one in found]
    numbers: dict[tuple[str, str], int] = {}
    return scores(
        p50=[one.p50 for one in found],
        p90=[one.p90 for one in found],
        truth=[float(call.output_tokens) for call in calls],
        runs=[one.run for one in found],
        roles=[numbers.setdefault((call.role, call.model), len(numbers)) for call in calls],
        forecast_us=[one.took_us for one in found],
    )


class Foreseen(NamedTuple):
    """A forecast of one call: the run by its number, the call by its place in it."""

    run: int
    place: int
    p50: float
    p90: float
    took_us: float


def foreseen(
    forecaster: Forecaster, test: Sequence[KnownRun], *, clock: Callable[[], float] = lambda: 0.0
) -> Iterator[Foreseen]:
    """Every call of the runs, of which only what came before it is revealed."""
    for number, run in enumerate(test):
        asked = 0
        for place, call in enumerate(run.calls):
            while asked < place and run.calls[asked].step < call.step:
                forecaster.reveal(run, asked)
                asked += 1
            began = clock()
            low, high = forecaster.foresee(run, place)
            yield Foreseen(number, place, low, high, 1e6 * (clock() - began))
