"""What a text says of a chance is learned, and believed only where it has been right."""

from random import Random

import msgspec
import pytest

from headway.core.prompts import MOST_DENSE, MOST_FEATURES, Sample, features
from headway.core.protocols import Query
from headway.predict.confidence import BaseRates
from headway.predict.coverage import Coverage
from headway.predict.gate import LEAST_JUDGED, Gate
from headway.predict.head import KEPT, Head
from headway.predict.slopes import MAX_PLACES, fitted, logit, sigmoid
from headway.predict.text_confidence import MAX_MODELS, TextConfidence

TOPICS = ("integral prime lemma proof", "colour flower river garden")
FILLERS = ["please", "answer", "this", "short", "question", "about", "the", "following", "thing"]


def prompt(topic: int, rng: Random) -> tuple[int, ...]:
    """A text of a hard topic (0) or an easy one (1)."""
    return features(" ".join(rng.sample(FILLERS, 6) + rng.sample(TOPICS[topic].split(), 2)))


def asked(told: tuple[int, ...], model: str = "small", node: str = "write") -> Query:
    return Query(graph="g", node=node, model=model, features=told)


def school(confidence: TextConfidence, *, answers: int, tell: float = 0.9, seed: int = 1) -> None:
    """Answers whose worth the topic tells with that probability."""
    rng = Random(seed)
    for number in range(answers):
        topic = number % 2
        ok = rng.random() < (tell if topic else 1.0 - tell)
        confidence.learn(asked(prompt(topic, rng)), ok, source="feedback")


@pytest.fixture(scope="module")
def schooled() -> TextConfidence:
    confidence = TextConfidence({"small": 0.5})
    school(confidence, answers=400)
    return confidence


def test_what_a_text_says_is_learned(schooled: TextConfidence) -> None:
    rng = Random(2)
    hard, easy = (schooled.chance(asked(prompt(topic, rng))) for topic in (0, 1))
    assert hard < 0.3 and easy > 0.7
    assert schooled.chance(asked(())) == pytest.approx(0.5, abs=0.05)


def test_foreign_texts_and_unknown_places_are_left_to_the_base_rate(
    schooled: TextConfidence,
) -> None:
    rate = schooled.chance(asked(()))
    for text in ("请你回答这个问题", "0x7f3e: segv at frame #12", "qzx wvk plmr tttq", ""):
        assert schooled.chance(asked(features(text))) == pytest.approx(rate, abs=0.02)
    known = prompt(0, Random(3))
    assert schooled.chance(asked(known, node="elsewhere")) == schooled.chance(
        asked((), node="elsewhere")
    )
    assert schooled.chance(asked(known, model="other")) == schooled.chance(asked((), model="other"))


def test_too_few_answers_say_nothing() -> None:
    confidence = TextConfidence({"small": 0.5})
    school(confidence, answers=90)
    assert confidence.chance(asked(prompt(0, Random(2)))) == confidence.chance(asked(()))


def test_labels_that_contradict_each_other_leave_the_base_rate() -> None:
    confidence, rates = TextConfidence({"small": 0.5}), BaseRates({"small": 0.5})
    rng = Random(5)
    for _ in range(300):
        told, ok = prompt(0, rng), rng.random() < 0.5
        for word in (ok, not ok):
            confidence.learn(asked(told), word, source="feedback")
            rates.learn(asked(told), word, source="feedback")
    chance = confidence.chance(asked(prompt(0, rng)))
    assert chance == pytest.approx(rates.chance(asked(())), abs=0.1)


def test_a_word_that_turned_wrong_is_no_longer_believed(schooled: TextConfidence) -> None:
    confidence = TextConfidence({"small": 0.5})
    confidence.restore(schooled.snapshot())
    told = prompt(0, Random(2))
    before = confidence.chance(asked(told))
    school(confidence, answers=400, tell=0.1, seed=7)  # the other way round
    assert confidence.chance(asked(told)) > before + 0.2


def test_what_a_text_says_after_a_failure_of_another_model() -> None:
    confidence = TextConfidence({"small": 0.4, "large": 0.7})
    rng = Random(3)
    for number in range(700):
        topic = number % 2
        told = prompt(topic, rng)
        failed = rng.random() < 0.5
        confidence.learn(asked(told), not failed, source="feedback")
        ok = rng.random() < (0.85 if topic else 0.15)
        before = ("small",) if failed else ()
        confidence.learn(asked(told, "large"), ok, source="feedback", failed=before)
    hard, easy = (
        confidence.chance(asked(prompt(topic, rng), "large"), ("small",)) for topic in (0, 1)
    )
    assert hard < 0.4 < 0.6 < easy
    # its own repeat, and a failure of a model that nobody knows, say what the base rates say
    for failed in (("large",), ("small", "large"), ("new",)):
        assert confidence.chance(asked(prompt(0, rng), "large"), failed) == confidence.chance(
            asked((), "large"), failed
        )
    told = prompt(0, rng)
    assert confidence.chance(asked(told), ("large",), explore=True) == confidence.chance(
        asked(told)
    )


def test_a_judgement_that_does_not_count_teaches_no_head() -> None:
    confidence = TextConfidence({})
    told = prompt(0, Random(1))
    confidence.learn(asked(told), True, source="node")  # nodes that never failed tell nothing
    assert "texts" not in confidence.snapshot()
    with pytest.raises(ValueError, match="no source 'gossip'"):
        confidence.learn(asked(told), True, source="gossip")
    assert "texts" not in confidence.snapshot()


def test_a_snapshot_is_all_and_goes_on_as_it_would_have(schooled: TextConfidence) -> None:
    packed = msgspec.msgpack.encode(schooled.snapshot())
    fresh, same = TextConfidence({"small": 0.5}), TextConfidence({"small": 0.5})
    for each in (fresh, same):
        each.restore(msgspec.msgpack.decode(packed))
    for each in (fresh, same):
        school(each, answers=40, seed=9)
    assert fresh.snapshot() == same.snapshot()
    rates = BaseRates({"small": 0.5})
    rates.restore(msgspec.msgpack.decode(packed))  # who reads no texts takes the rest
    assert rates.chance(asked(())) == schooled.chance(asked(()))


def test_what_is_learned_later_does_not_change_a_snapshot(schooled: TextConfidence) -> None:
    confidence = TextConfidence({"small": 0.5})
    confidence.restore(schooled.snapshot())
    taken = confidence.snapshot()
    packed = msgspec.msgpack.encode(taken)
    school(confidence, answers=40, seed=9)
    assert msgspec.msgpack.encode(taken) == packed != msgspec.msgpack.encode(confidence.snapshot())


def test_of_another_format_only_the_base_rates_are_taken(schooled: TextConfidence) -> None:
    saved = schooled.snapshot()
    fresh = TextConfidence({"small": 0.5})
    fresh.restore({**saved, "texts": {"format": 99, "whatever": b""}})
    told = prompt(0, Random(2))
    assert fresh.chance(asked(told)) == fresh.chance(asked(())) == schooled.chance(asked(()))


@pytest.mark.parametrize("part", ["weights", "coverage", "kept", "slopes"])
def test_a_damaged_snapshot_is_refused_and_changes_nothing(
    schooled: TextConfidence, part: str
) -> None:
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(schooled.snapshot()))
    head = saved["texts"]["heads"][0][1]
    head[part] = b"\xff\xff\xff\x7f" * 4 if part == "weights" else [[b"x", 1.0, 2.0]]
    fresh = TextConfidence({"small": 0.5})
    before = fresh.snapshot()
    with pytest.raises((KeyError, TypeError, ValueError)):
        fresh.restore(saved)
    assert fresh.snapshot() == before


def test_memory_is_bounded() -> None:
    confidence = TextConfidence({})
    told = features("one short text")
    for number in range(3 * MAX_MODELS):
        confidence.learn(asked(told, f"model {number}"), True, source="feedback")
    assert len(confidence.snapshot()["texts"]["heads"]) <= MAX_MODELS
    head, sample = Head(), Sample(told)
    for number in range(KEPT + 50):
        head.learn(sample, ("g", str(number % (2 * MAX_PLACES))), 0.0, number % 3 > 0)
    saved = head.saved()
    assert len(saved["kept"]) == KEPT and len(saved["offsets"]) <= MAX_PLACES
    gate = Gate()
    for number in range(2 * MAX_PLACES):
        gate.judge(("g", str(number)), 0.5, 0.5, True)
    assert len(gate.saved()) <= MAX_PLACES
    most = MOST_FEATURES + MOST_DENSE
    assert len(Sample(range(10 * MOST_FEATURES)).at) <= most


# -- the parts -------------------------------------------------------------------------------------


def test_a_gate_opens_on_evidence_and_does_not_flutter() -> None:
    gate, place = Gate(), ("g", "n", "m")
    for number in range(LEAST_JUDGED):
        assert not gate.believes(place)
        gate.judge(place, 0.8, 0.6, number % 5 > 0)
    assert gate.believes(place) and not gate.believes(("g", "n", "other"))
    assert Gate.loaded(gate.saved()).believes(place)
    gate.judge(place, 0.9, 0.6, False)
    assert gate.believes(place)
    for _ in range(60):
        gate.judge(place, 0.9, 0.6, False)
    assert not gate.believes(place)


def test_words_are_known_that_two_texts_hold() -> None:
    coverage = Coverage()
    coverage.settle([[1, 2, 3, 4]] * 20)
    assert coverage.trust([1, 2, 3, 4]) == 1.0
    assert coverage.trust([9, 10, 11, 12]) == coverage.trust([]) == 0.0
    alone = Coverage()
    alone.settle([])
    assert alone.trust([1]) == 0.0


def test_slopes_are_pulled_to_the_prior_and_follow_many_rows() -> None:
    rng = Random(1)
    rows = []
    for _ in range(4000):
        score = rng.gauss(0.0, 1.0)
        rows.append(((score, 1.0), 0.3, rng.random() < sigmoid(0.3 + 0.4 * score - 0.2)))
    found = fitted(rows, prior=(0.9, 0.0), start=(0.9, 0.0), pull=2.0, steps=8)
    assert found == pytest.approx([0.4, -0.2], abs=0.08)
    assert fitted([], prior=(0.9, 0.1), start=(0.0, 0.0), pull=2.0, steps=8) == pytest.approx(
        [0.9, 0.1]
    )
    assert sigmoid(logit(0.3)) == pytest.approx(0.3) and 0.0 < sigmoid(-1e9) < sigmoid(1e9) < 1.0
