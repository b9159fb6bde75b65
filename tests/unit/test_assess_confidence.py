"""Measures of chances and of success for its cost, by hand; and the command on a small set."""

import gzip
import json
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest

from headway.cli.assess import assess
from headway.core.errors import ConfigError
from headway.core.prompts import embedded, features
from headway.sim.assess.chances import chance_scores, ece
from headway.sim.assess.confidence_run import parted
from headway.sim.assess.confidences import KIND_WEIGHT, SIMPLE, Reader, Told, kind, query_of
from headway.sim.assess.frontier import frontiers, shrunk, worth
from headway.sim.assess.judging import ENCODED, FORECASTERS, OUTCOMES, judge_split
from headway.sim.assess.labelled import KnownQuestion, read_pair, split_questions
from headway.sim.assess.tfidf import Linear, TfIdf
from tests.support.tiny_encoder import tiny_encoder

WORDS = ("integral prime lemma proof", "colour flower river garden")
FILLERS = ("please", "answer", "this", "short", "question", "about", "the", "following", "thing")


def questions(count: int, *, seed: int = 1) -> list[KnownQuestion]:
    """Hard ones (for the small model) and easy ones; the words tell which, nine times of ten."""
    rng = Random(seed)
    found = []
    for number in range(count):
        easy = number % 2
        words = rng.sample(FILLERS, 5) + rng.sample(WORDS[easy].split(), 2)
        found.append(
            known(
                f"{' '.join(words)} {'x' * (number % 7)}",
                small=rng.random() < (0.9 if easy else 0.1),
                large=rng.random() < (0.9 if easy else 0.6),
                kind="mixed",
            )
        )
    return found


def known(
    text: str, *, small: bool, large: bool, kind: str = "k", tokens: tuple[int, int] = (100, 100)
) -> KnownQuestion:
    return KnownQuestion(
        text=text,
        features=features(text),
        kind=kind,
        group=text,
        small_ok=small,
        large_ok=large,
        small_tokens=tokens[0],
        large_tokens=tokens[1],
    )


def test_measures_of_a_chance_by_hand() -> None:
    found = chance_scores([0.2, 0.4, 0.4, 0.9], [False, True, False, True], rate=0.5)
    # of the four (right, wrong) pairs three are in order and one is a tie
    assert found.auc == pytest.approx(3.5 / 4)
    assert found.brier == pytest.approx((0.04 + 0.36 + 0.16 + 0.01) / 4)
    assert found.gain == pytest.approx(0.25 - found.brier)
    # 0.2 alone, the two of 0.4 together (half of them right), 0.9 alone
    assert found.ece == pytest.approx((0.2 + abs(0.8 - 1.0) + 0.1) / 4)
    assert 0.0 < found.ece_floor < 0.5
    assert chance_scores([0.3], [True], rate=0.3).auc == 0.5


def test_bins_are_of_equal_mass() -> None:
    told = np.arange(150) / 150
    right = told >= 0.5
    ten_each = np.abs((told - right).reshape(15, 10).sum(axis=1)).sum() / 150
    assert ece(told, right) == pytest.approx(ten_each)


def test_a_frontier_by_hand() -> None:
    test = [
        known("a", small=True, large=True, tokens=(10, 10)),
        known("b", small=False, large=True, tokens=(10, 10)),
        known("c", small=False, large=True, tokens=(10, 30)),
        known("d", small=False, large=False, tokens=(10, 10)),
    ]
    told = {
        name: Told(small=[0.9, 0.5, 0.4, 0.5], large=[0.9, 0.7, 0.9, 0.8], after=[0.6, 0.9, 0.7])
        for name in ("headway", "tf-idf")
    }
    paid = np.array([10.0] * 4), np.array([80.0, 80.0, 240.0, 80.0])
    found = frontiers(test, told, predicted=paid, line=(0.0, 0.5))
    # all small costs 40, all large 480; success goes from 1/4 to 3/4
    # gain moves c (0.5) first for 230, then d, which brings nothing, for 70, then b
    assert found["gain"].at_80 == pytest.approx((40 + 230 + 70 + 70) / 480)
    # gain / cost: d (0.3 for 70), b (0.2 for 70), c (0.5 for 230)
    assert found["gain / cost"].at_80 == pytest.approx((40 + 70 + 70 + 230) / 480)
    assert found["clairvoyant"].at_80 == pytest.approx((40 + 70 + 230) / 480)
    # escalation asks d, b (0.6 for 80), c (0.9 for 240) again, on top of what the small model cost
    assert found["escalation"].at_95 == pytest.approx((40 + 80 + 80 + 240) / 480)
    assert found["escalation"].least <= 0.0 <= found["escalation"].above <= 1.0
    assert found["random"].area == pytest.approx(0.505)
    assert found["random"].at_80 == pytest.approx((40 + 0.8 * 440) / 480)


def test_what_is_worth_its_cost_and_by_how_much_a_gain_shrinks() -> None:
    order = worth(np.array([0.2, 0.4, -0.1, -0.1]), np.array([1.0, 4.0, 1.0, 4.0]))
    assert order == pytest.approx([0.2, 0.1, -0.1, -0.4])
    told = [(9.0, 9.0)] * 100 + [
        (gain, 0.25 + 0.5 * gain) for gain in (-1.0, 1.0) for _ in range(50)
    ]
    line = shrunk(told)
    assert line == pytest.approx((0.25, 0.5), abs=0.01)


def test_a_kind_is_shrunk_to_the_whole() -> None:
    train = [known(f"a{n}", small=n < 8, large=True, kind="a") for n in range(10)]
    train += [known(f"b{n}", small=n < 2, large=True, kind="b") for n in range(10)]
    told = kind(train, [known("x", small=True, large=True, kind="a")])
    assert told.small == [pytest.approx((KIND_WEIGHT * 0.5 + 8) / (KIND_WEIGHT + 10))]
    new = kind(train, [known("x", small=False, large=True, kind="new")])
    assert new.small == [0.5] and new.after == [1.0]


def test_tf_idf_tells_topics_apart() -> None:
    train, test = questions(300), questions(100, seed=2)
    weigher = TfIdf([one.features for one in train])
    bags = [weigher.bag(one.features) for one in train]
    right = Linear(bags, [float(one.small_ok) for one in train], is_chance=True)
    longer = Linear(bags, [5.0 + one.small_ok for one in train], is_chance=False)
    easy, hard = (
        weigher.bag(next(one for one in test if WORDS[topic].split()[0] in one.text).features)
        for topic in (1, 0)
    )
    assert right.predict(easy) > 0.6 > 0.4 > right.predict(hard)
    assert longer.predict(easy) > longer.predict(hard) + 0.2
    assert Linear([], [], is_chance=True).predict(easy) < 0.5


def test_ours_is_taught_on_one_half_and_judged_on_the_other() -> None:
    train, test = split_questions(questions(1000), 0)
    assert not {one.group for one in train} & {one.group for one in test}
    found = judge_split(train, test, has_lengths=True, clock=lambda: 0.0)
    assert set(found.scores) == {*SIMPLE, "headway", "headway, ungated"}
    small = {name: scores["small"] for name, scores in found.scores.items()}
    assert small["constant"].gain == 0.0 and small["clairvoyant"].brier == 0.0
    assert small["headway"].auc > 0.8 and small["headway"].gain > 0.05
    assert found.frontiers["clairvoyant"].area > found.frontiers["gain"].area
    assert found.cost_ratio == pytest.approx(8.0) and found.took.state_bytes > 100_000
    assert not judge_split(train[:40], test, has_lengths=False, clock=lambda: 0.0).frontiers


def test_what_an_encoder_read_is_judged_besides() -> None:
    """Of texts whose words say nothing and whose embeddings say all."""
    rng = Random(4)
    told = [msgspec.structs.replace(one, text=f"q {n}") for n, one in enumerate(questions(1200))]
    read = [
        msgspec.structs.replace(
            one,
            features=features("the same"),
            embedding=embedded([1.0 if one.small_ok else -1.0, rng.gauss(0.0, 0.1), 0.2]),
        )
        for one in told
    ]
    train, test = split_questions(read, 0)
    found = judge_split(train, test, has_lengths=True, clock=lambda: 0.0)
    assert set(found.scores) == set(FORECASTERS)
    assert found.scores[ENCODED]["small"].auc > 0.95
    assert found.scores["headway"]["small"].auc == pytest.approx(0.5, abs=0.1)
    assert found.frontiers["escalation, encoder"].area > 0.0


def test_judging_teaches_nothing() -> None:
    train, test = split_questions(questions(60), 0)
    reader = Reader(train, clock=lambda: 0.0)
    before = reader.believed(test)
    reader.ungated(test)
    reader.time(test)
    assert reader.believed(test) == before
    assert query_of(test[0], "small").features == features(test[0].text)


def write_labels(folder: Path, rows: int, *, small: float = 0.5) -> None:
    """RouteLLM's format, GSM8K."""
    rng = Random(3)
    lines = []
    for number in range(rows):
        row = {
            "id": f"q{number}",
            "set": "gsm8k",
            "subject": "gsm8k",
            "prompt": f"What is {number} and {rng.choice(FILLERS)}?",
            "prompt_tok": 9,
            "small_ok": int(rng.random() < small),
            "large_ok": int(rng.random() < 0.8),
            "small_out": 20 + number % 5,
            "large_out": 25,
        }
        lines.append(json.dumps(row) + "\n")
    path = folder / "routellm_labels.dev.jsonl.gz"
    path.write_bytes(gzip.compress("".join(lines).encode()))


def test_labelled_sets_are_read_with_their_texts(tmp_path: Path) -> None:
    write_labels(tmp_path, 5)
    found = read_pair("routellm-gsm8k", tmp_path)
    assert len(found.questions) == 5 and found.has_lengths
    assert found.questions[0].features == features(found.questions[0].text)
    with pytest.raises(ConfigError, match="did you mean `routellm-gsm8k`"):
        read_pair("routellm-gsm8", tmp_path)
    with pytest.raises(ConfigError, match="did you mean `weka`"):
        parted(["wek"])
    assert parted(["weka", "routellm-mmlu"]) == (["weka"], ["routellm-mmlu"])


def test_the_command_writes_its_part_of_a_page(tmp_path: Path) -> None:
    write_labels(tmp_path, 40)
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"
    page.write_text(
        "before\n<!-- texts: too -->\nold\n<!-- texts end -->\n"
        "<!-- confidence: made by it -->\nold\n<!-- confidence end -->\nafter\n"
        "<!-- encoder: made by it -->\n<!-- encoder end -->\n"
    )
    assess(tmp_path, json_file=numbers, page=page, sets=["routellm-gsm8k"], splits=2)
    told = json.loads(numbers.read_bytes())
    (found,) = told["confidences"]
    assert told["lengths"] == [] and found["questions"] == 40 and len(found["splits"]) == 2
    assert [one["set_name"] for one in told["texts"]] == ["routellm-gsm8k"]
    assert set(found["splits"][0]["scores"]["headway"]) == set(OUTCOMES)
    text = page.read_text()
    whole, _, rest = text.partition("<!-- confidence end -->\nafter\n")
    assert (
        text.startswith("before\n")
        and rest == "<!-- encoder: made by it -->\n<!-- encoder end -->\n"
    )
    assert "encoder" not in whole and (tmp_path / "results" / "prediction-confidence.png").is_file()
    tiny = tiny_encoder(tmp_path / "tiny")
    assess(tmp_path, page=page, sets=["routellm-gsm8k"], splits=1, encoder=tiny)
    again, _, rest = page.read_text().partition("<!-- confidence end -->\nafter\n")
    assert again == whole and "| headway + encoder |" in rest
    assert "* the encoder (tiny by onnxruntime" in rest
    assert (tmp_path / "results" / "prediction-encoder.png").is_file()
    assert "| clairvoyant | 1.000" in text and "| escalation |" in text and "old" not in text


def test_what_never_happened_is_told_as_that(tmp_path: Path) -> None:
    write_labels(tmp_path, 40, small=1.0)
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- texts: too -->\n<!-- texts end -->\n"
        "<!-- confidence: made by it -->\n<!-- confidence end -->\n"
    )
    assess(tmp_path, page=page, sets=["routellm-gsm8k"], splits=2)
    assert "* after failure: never, on any split" in page.read_text()


def test_a_file_for_numbers_that_has_no_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    write_labels(tmp_path, 40)
    with pytest.raises(ConfigError, match="there is no folder for it"):
        assess(tmp_path, json_file=tmp_path / "none" / "n.json", sets=["routellm-gsm8k"])
