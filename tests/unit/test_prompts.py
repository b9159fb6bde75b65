"""What a prompt's text says: hashed, bounded, never a crash."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.prompts import (
    DENSE_FROM,
    GRAMS,
    HEAD_CHARS,
    MOST_FEATURES,
    SHAPES,
    TAIL_CHARS,
    WIDTH,
    WORDS,
    Sample,
    embedded,
    features,
    shapes,
    shapes_of,
)


def test_words_and_pairs_are_counted_numbers_by_their_size_only() -> None:
    one, other = Sample(features("add 12 to 345.")), Sample(features("add 99 to 118."))
    assert one.saved() == other.saved()
    # add, 00, to, 000, "." and the four pairs between them; two words to know
    assert (len(one.at), len(one.words)) == (len(SHAPES) + 9, 2)
    assert sum(value * value for value in one.value[: -len(SHAPES)]) == pytest.approx(1.0)
    assert features("add 1234 to 345.") != features("add 12 to 345.")


def test_a_long_text_is_read_at_both_ends_only() -> None:
    ends = "a" * HEAD_CHARS, "z" * TAIL_CHARS
    assert features(ends[0] + "x " * 500_000 + ends[1]) == features(
        ends[0] + "other " + "x " * 700_000 + ends[1]
    )


ODD = (
    "",
    " ",
    "\x00\ud800\udfff",
    "请求" * 2500,
    "1" * 300_000,
    "\U0001d518 " * 9000,
    "a b " * 250_000,
    "".join(map(chr, range(33, 9000))),
)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_any_text_has_features_in_their_ranges(text: str) -> None:
    told = features(text)
    assert 0 < len(told) <= MOST_FEATURES and all(0 <= number < 1 << 24 for number in told)
    sample = Sample(told)
    assert all(place < WIDTH for place in sample.at) and all(abs(one) <= 2 for one in sample.value)
    assert [place for place in sample.at if place >= GRAMS] == list(range(GRAMS, DENSE_FROM))


def test_shapes_are_told_first_and_can_be_kept_alone() -> None:
    told = features("A) yes\nB) no\n" * 3)
    assert shapes(shapes_of(told)) == shapes(told) == shapes(told + embedded([1.0, 2.0]))
    assert len(shapes(told)) == len(SHAPES) - 1 and shapes(told)[-1] > 1.0  # options
    assert shapes(()) == [0.0] * (len(SHAPES) - 1)


@settings(max_examples=60, deadline=None)
@given(told=st.lists(st.integers(-(2**70), 2**70) | st.integers(0, 2**24), max_size=40))
def test_numbers_that_cannot_be_are_left_out(told: list[int]) -> None:
    sample = Sample(told)
    assert all(place < WIDTH for place in sample.at) and all(word < WORDS for word in sample.words)
    again = Sample.loaded(sample.saved())
    assert again.saved() == sample.saved()
    assert all(abs(one) <= 4.0 for one in shapes(told))


def test_a_sample_of_other_features_is_refused() -> None:
    at, value, words = Sample(features("a word")).saved()
    for wrong in ([at, value[4:], words], [b"\xff\xff" * (len(value) // 4), value, words]):
        with pytest.raises(ValueError, match="no sample"):
            Sample.loaded(wrong)
