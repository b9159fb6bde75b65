"""Encoders: a tiny real one by onnxruntime; what is missing or wrong is named with what to do."""

import json
import math
import sys
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.core.prompts import (
    DENSE_FROM,
    MOST_DENSE,
    MOST_FEATURES,
    WIDTH,
    Sample,
    embedded,
    features,
)
from headway.encoding.encoder import open_encoder
from tests.support.tiny_encoder import DIMENSIONS, tiny_encoder


def test_texts_become_unit_vectors_whatever_stands_beside_them(tmp_path: Path) -> None:
    encoder = open_encoder(tiny_encoder(tmp_path / "tiny"))
    texts = ["divide by zero", "sort list", "divide by zero"] + ["add"] * 40
    vectors = encoder.encode(texts)
    assert len(vectors) == len(texts) and all(len(one) == DIMENSIONS for one in vectors)
    assert all(math.hypot(*one) == pytest.approx(1.0, abs=1e-5) for one in vectors)
    assert vectors[0] == pytest.approx(vectors[2]) and vectors[0] != pytest.approx(vectors[1])
    assert encoder.encode(["sort list"])[0] == pytest.approx(vectors[1], abs=1e-5)
    assert "onnxruntime" in encoder.about


def test_texts_are_cut_where_the_model_says(tmp_path: Path) -> None:
    encoder = open_encoder(tiny_encoder(tmp_path / "tiny"))  # after 4 tokens
    cut, whole = encoder.encode(["add zero by sort list prove", "add zero by sort"])
    assert cut == pytest.approx(whole)
    assert len(encoder.encode(["divide " * 200_000, "", "\ud800 \x00 見積"])) == 3


def test_the_first_token_where_the_model_says(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "tiny", pooling="pooling_mode_cls_token")
    one, other = open_encoder(folder).encode(["add zero", "add list"])
    assert one == pytest.approx(other)


def test_an_onnx_file_may_be_named_itself(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "tiny")
    assert open_encoder(folder / "onnx" / "model.onnx").encode(["add"])


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "holds no ONNX file"),
        (lambda folder: folder.write_text("x"), "name a folder, or a .onnx file"),
    ],
)
def test_what_is_no_encoder_is_named(tmp_path, break_it, told, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    break_it(tmp_path / "model")
    with pytest.raises(ConfigError, match=told):
        open_encoder(tmp_path / "model")


def test_a_broken_file_an_unknown_pooling_and_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_encoder(tmp_path / "tiny")
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_lasttoken": True}))
    with pytest.raises(ConfigError, match="neither by the mean nor by the first token"):
        open_encoder(folder)
    pooling.unlink()
    (folder / "onnx" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_encoder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match="no tokenizer"):
        open_encoder(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'headway\[encoder\]'"):
        open_encoder(folder)


def test_an_embedding_is_told_like_words_and_read_back() -> None:
    vector = [0.5, -0.5, 0.5, -0.5]
    told = embedded(vector)
    sample = Sample(told + features("divide by zero"))
    assert list(sample.at[-4:]) == [DENSE_FROM + place for place in range(4)]
    assert list(sample.value[-4:]) == pytest.approx(vector, abs=0.02)
    assert list(sample.at[:-4]) == list(Sample(features("divide by zero")).at)
    assert sample.words == Sample(features("divide by zero")).words


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_an_embedding_that_says_nothing_is_none(vector: list[float]) -> None:
    assert embedded(vector) == ()


def test_an_embedding_beside_the_longest_text_is_not_cut_off() -> None:
    told = embedded([1.0] * (MOST_DENSE + 5))
    words = " ".join(
        f"w{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}x{'y' * (n % 7)}" for n in range(3000)
    )
    sample = Sample(told + features(words))
    assert len(told) == MOST_DENSE and len(features(words)) <= MOST_FEATURES
    assert max(sample.at) == WIDTH - 1
    assert sum(place < DENSE_FROM for place in sample.at) == len(Sample(features(words)).at)
