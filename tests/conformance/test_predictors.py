"""What every predictor must keep to."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.past import Past
from headway.core.prompts import features
from headway.core.protocols import Confidence, Predictor, Query
from headway.predict.confidence import SOURCES, BaseRates
from headway.predict.horizon import Horizons
from headway.predict.length import OutputLength
from headway.predict.quantiles import output_length, prefix_share, rest_of_run, return_time
from headway.predict.text_confidence import TextConfidence
from headway.sim.confidence import make_confidence, parse_confidence
from headway.sim.luck import Luck
from headway.sim.trace import Label, Question

PREDICTORS: dict[str, Callable[[], Predictor]] = {
    "output_length": output_length,
    "length": OutputLength,
    "rest_of_run": lambda: rest_of_run(prior=(10.0, 40.0)),
    "horizon": lambda: Horizons({"left": (10.0, 40.0)}).of("left"),
    "prefix_share": prefix_share,
    "return_time": return_time,
}
QUALITY = {"small": 0.5, "large": 0.99}
QUESTION = Question(
    kind="sums",
    prompt_tokens=50,
    text="add the sums",
    labels={
        "small": Label(ok=False, output_tokens=90, chance=0.4),
        "large": Label(ok=True, output_tokens=80),
    },
)


def named(text: str) -> Confidence:
    """A source of the laboratory that knows the question of one run only."""
    luck = Luck({"asked": QUESTION}, seed=1, rho=0.5)
    return make_confidence(parse_confidence(text), quality=QUALITY, luck=luck)


def read_before() -> dict[str, Any]:
    """What a `TextConfidence` learned whose word on two texts is believed at one place."""
    confidence = TextConfidence(QUALITY)
    for number in range(220):
        text = number % 2
        for model in ("small", "large"):
            query = Query(graph="g", node="test", model=model, features=TEXTS[text])
            failed = ("small",) if model == "large" else ()
            confidence.learn(query, bool(text), source="loop", failed=failed)
    return confidence.snapshot()


TEXTS = (features("divide the sum by zero"), features("name a colour"), features("请求"))
READ_BEFORE = read_before()


def test_the_one_that_has_read_before_believes_the_texts() -> None:
    for model, failed in (("small", ()), ("large", ("small",))):
        asked = [Query(graph="g", node="test", model=model, features=text) for text in TEXTS]
        bad, good, foreign = (reader().chance(query, failed) for query in asked)
        assert bad + 0.15 < foreign < good - 0.15


def reader() -> Confidence:
    confidence = TextConfidence(QUALITY)
    confidence.restore(READ_BEFORE)
    return confidence


CONFIDENCES: dict[str, Callable[[], Confidence]] = {
    "base_rates": lambda: BaseRates(QUALITY),
    "text": lambda: TextConfidence(QUALITY),
    "text, read before": reader,
    "learned": lambda: named("learned"),
    "noisy": lambda: named("noisy(auc=0.7)"),
    "oracle": lambda: named("oracle"),
}
PREDICTOR = pytest.mark.parametrize("make", PREDICTORS.values(), ids=PREDICTORS)
CONFIDENCE = pytest.mark.parametrize("make", CONFIDENCES.values(), ids=CONFIDENCES)

PASTS = st.builds(
    Past,
    position=st.sampled_from([0, 0, 1, 7, 1000]),
    last=st.sampled_from(["", "write", "new"]),
    outputs=st.sampled_from([0, 10, 10**9]),
    last_prompt=st.sampled_from([0, 50, 10**7]),
)
QUERIES = st.builds(
    Query,
    graph=st.sampled_from("gh"),
    node=st.sampled_from(["write", "test"]),
    visit=st.integers(1, 9),
    model=st.sampled_from(["small", "large", "new"]),
    run=st.sampled_from(["", "asked"]),
    step=st.integers(0, 3),
    prompt_tokens=st.sampled_from([0, 100, 5000]),
    features=st.sampled_from([(), *TEXTS]),
    past=st.none() | PASTS,
)
PLACES = [
    Query(graph=graph, node=node, visit=visit, model=model, run=run, features=text, past=past)
    for past in (None, Past(position=7, last="write"))
    for graph in "gh"
    for node in ("write", "test")
    for visit in (1, 2, 9)
    for model in ("small", "large", "new")
    for run, text in (("", ()), ("asked", TEXTS[0]))
]
FAILED = st.lists(st.sampled_from(["small", "large"]), max_size=3).map(tuple)
LESSONS = st.lists(st.tuples(QUERIES, st.floats(0.0, 1e6)), max_size=60)
VERDICTS = st.lists(
    st.tuples(QUERIES, st.booleans(), st.sampled_from(SOURCES), FAILED), max_size=60
)


def taught(make: Callable[[], Predictor], lessons: list[tuple[Query, float]]) -> Predictor:
    predictor = make()
    for query, value in lessons:
        predictor.learn(query, value)
    return predictor


@PREDICTOR
@settings(max_examples=60, deadline=None)
@given(lessons=LESSONS)
def test_quantiles_are_ordered_and_repeatable(
    make: Callable[[], Predictor], lessons: list[tuple[Query, float]]
) -> None:
    one, two = taught(make, lessons), taught(make, lessons)
    for place in PLACES:
        found = one.estimate(place)
        assert 0 <= found.p50 <= found.p90
        assert found == two.estimate(place)


@PREDICTOR
@settings(max_examples=30, deadline=None)
@given(lessons=LESSONS)
def test_asking_teaches_nothing_and_a_snapshot_is_all(
    make: Callable[[], Predictor], lessons: list[tuple[Query, float]]
) -> None:
    predictor = taught(make, lessons)
    before = predictor.snapshot()
    estimates = [predictor.estimate(place) for place in PLACES]
    assert predictor.snapshot() == before
    fresh = make()
    fresh.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before)))
    assert [fresh.estimate(place) for place in PLACES] == estimates
    for each in (predictor, fresh):
        each.learn(PLACES[0], 5.0)
    assert [fresh.estimate(p) for p in PLACES] == [predictor.estimate(p) for p in PLACES]


@PREDICTOR
def test_a_prediction_approaches_what_is_so(make: Callable[[], Predictor]) -> None:
    rng = random.Random(1)
    predictor = make()
    for _ in range(250):
        predictor.learn(PLACES[0], rng.uniform(0.2, 0.4))
    found = predictor.estimate(PLACES[0])
    assert found.p50 == pytest.approx(0.3, abs=0.05) and found.p90 == pytest.approx(0.38, abs=0.05)


@PREDICTOR
def test_what_is_no_snapshot_is_refused(make: Callable[[], Predictor]) -> None:
    with pytest.raises((KeyError, TypeError)):
        make().restore({"nonsense": 1})


def judged(
    make: Callable[[], Confidence], verdicts: list[tuple[Query, bool, str, tuple[str, ...]]]
) -> Confidence:
    confidence = make()
    for query, ok, source, failed in verdicts:
        confidence.learn(query, ok, source=source, failed=failed)
    return confidence


@CONFIDENCE
@settings(max_examples=60, deadline=None)
@given(verdicts=VERDICTS)
def test_a_chance_is_a_probability_and_asking_teaches_nothing(
    make: Callable[[], Confidence], verdicts: list[tuple[Query, bool, str, tuple[str, ...]]]
) -> None:
    confidence = judged(make, verdicts)
    before = confidence.snapshot()
    asked = [(p, failed) for p in PLACES for failed in ((), ("small",), ("small", "large"))]
    chances = [confidence.chance(place, failed) for place, failed in asked]
    assert all(0 < chance < 1 for chance in chances)
    assert confidence.snapshot() == before
    fresh = make()
    fresh.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before)))
    assert [fresh.chance(place, failed) for place, failed in asked] == chances
    again = judged(make, verdicts)
    assert [again.chance(place, failed) for place, failed in asked] == chances
    for each in (again, fresh):
        each.learn(PLACES[1], True, source="feedback", failed=("large",))
        each.learn(PLACES[1], False, source="feedback")
    assert fresh.snapshot() == again.snapshot()


@CONFIDENCE
def test_what_is_no_snapshot_of_confidence_is_refused(make: Callable[[], Confidence]) -> None:
    with pytest.raises((KeyError, TypeError)):
        make().restore({"nonsense": 1})


@CONFIDENCE
def test_failures_lower_and_successes_raise_it(make: Callable[[], Confidence]) -> None:
    confidence = make()
    place = Query(graph="g", node="write", model="small")
    chances = [confidence.chance(place)]
    for _ in range(20):
        confidence.learn(place, False, source="loop")
        chances.append(confidence.chance(place))
    assert chances == sorted(chances, reverse=True) and chances[-1] < chances[0]
    for _ in range(200):
        confidence.learn(place, True, source="loop")
    assert confidence.chance(place) > 0.8
