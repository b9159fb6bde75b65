"""`open_encoder`: a model of the sentence-transformers kind from a local folder.

What. A folder as the Hub holds it (``tokenizer.json``, ``config.json``, weights). With an ONNX file
in it (``model.onnx``, ``onnx/model.onnx``, or the file that is named itself) onnxruntime reads
it: less time and memory than torch takes, and quick to start (docs/prediction.md says how much).
Without one the sentence-transformers package does. Nothing is fetched, and weights are never
pickles: ONNX or safetensors. What may not live here: who asks, and when.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from headway.core.errors import ConfigError

BATCH = 8
"""Texts read at once: more are padded to each other's length, and gain nothing on two cores."""
MOST_TOKENS = 256
"""Of a text, where the model does not say: what all-MiniLM-L6-v2 was trained on."""
MOST_THREADS = 2
ONNX_FILES = ("model.onnx", "onnx/model.onnx")
INSTALL_ONNX = "pip install 'headway[encoder]'"
INSTALL_TORCH = "pip install 'headway[sentence-transformers]'"

Vector = list[float]


class Encoder(Protocol):
    """Turns texts into vectors of one length."""

    about: str

    def encode(self, texts: Sequence[str]) -> list[Vector]:
        """A vector of length 1 for each text."""
        ...


def open_encoder(path: Path) -> Encoder:
    """The encoder in a folder, or of an ONNX file in one.

    Raises `ConfigError`, which says what is missing and what to do.
    """
    if not path.exists():
        raise ConfigError(
            f"encoder {path}: there is no such folder; it should hold a model of "
            "sentence-transformers, such as all-MiniLM-L6-v2 from the Hub"
        )
    file = path if path.is_file() else _onnx_in(path)
    if file is None:
        return SentenceEncoder(path)
    if file.suffix != ".onnx":
        raise ConfigError(f"encoder {file}: name a folder, or a .onnx file")
    return OnnxEncoder(file)


def _onnx_in(folder: Path) -> Path | None:
    return next((file for name in ONNX_FILES if (file := folder / name).is_file()), None)


class OnnxEncoder:
    """By onnxruntime and the tokenizer's own library; mean of the tokens, or the first one's."""

    def __init__(self, file: Path) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigError(f"{error.name} is not installed: {INSTALL_ONNX}") from None
        folder = next(
            (
                one
                for one in (file.parent, file.parent.parent)
                if (one / "tokenizer.json").is_file()
            ),
            None,
        )
        if folder is None:
            raise ConfigError(f"encoder {file}: no tokenizer.json beside it")
        self._first_token = _pools_by_first_token(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(os.cpu_count() or 1, MOST_THREADS)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ConfigError(f"encoder {file}: cannot be read: {error}") from error
        self._tokenizer.enable_truncation(max_length=_most_tokens(folder))
        self._tokenizer.enable_padding()
        self._inputs = [one.name for one in self._session.get_inputs()]
        self.about = f"{folder.name} by onnxruntime {onnxruntime.__version__}"

    def encode(self, texts: Sequence[str]) -> list[Vector]:
        """A vector of length 1 for each text."""
        found: dict[int, Vector] = {}
        # those of a length together: a batch is padded to its longest
        order = sorted(range(len(texts)), key=lambda one: len(texts[one]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            vectors = self._batch([texts[place] for place in places])
            found.update(zip(places, vectors, strict=True))
        return [found[place] for place in range(len(texts))]

    def _batch(self, texts: list[str]) -> list[Vector]:
        import numpy as np

        sound = [text.encode("utf-8", "replace").decode() for text in texts]
        tokens = self._tokenizer.encode_batch(sound)
        given = {
            "input_ids": np.array([one.ids for one in tokens], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in tokens], dtype=np.int64),
            "token_type_ids": np.array([one.type_ids for one in tokens], dtype=np.int64),
        }
        wanted = {name: given[name] for name in self._inputs}
        out = self._session.run(None, wanted)[0]
        if out.ndim == 3:
            mask = given["attention_mask"][:, :, None].astype(out.dtype)
            summed = out[:, 0] if self._first_token else (out * mask).sum(1)
            out = summed  # of a mean only the direction counts
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
        vectors: list[Vector] = (out / np.maximum(lengths, 1e-12)).tolist()
        return vectors


class SentenceEncoder:
    """By the sentence-transformers package, on the CPU."""

    def __init__(self, folder: Path) -> None:
        try:
            from sentence_transformers import SentenceTransformer, __version__
        except ImportError:
            raise ConfigError(
                f"encoder {folder}: it holds no ONNX file ({' or '.join(ONNX_FILES)}), and "
                f"sentence-transformers, which needs none, is not installed: {INSTALL_TORCH}"
            ) from None
        try:
            self._model: Any = SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            raise ConfigError(f"encoder {folder}: cannot be read: {error}") from error
        self.about = f"{folder.name} by sentence-transformers {__version__}"

    def encode(self, texts: Sequence[str]) -> list[Vector]:
        """A vector of length 1 for each text."""
        vectors: list[Vector] = self._model.encode(
            list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        ).tolist()
        return vectors


def _most_tokens(folder: Path) -> int:
    found = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return found if isinstance(found, int) and found > 0 else MOST_TOKENS


def _pools_by_first_token(folder: Path) -> bool:
    """By what the model says. Raises `ConfigError` for a way of pooling that is not known here."""
    told = _json(folder / "1_Pooling" / "config.json")
    if told.get("pooling_mode_cls_token"):
        return True
    if told and not told.get("pooling_mode_mean_tokens"):
        raise ConfigError(
            f"encoder {folder}: it pools neither by the mean nor by the first token, which is what "
            f"is known of its ONNX file; move that away and use {INSTALL_TORCH}"
        )
    return False


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
