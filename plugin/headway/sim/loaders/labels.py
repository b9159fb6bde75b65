"""Questions with an answer of every model: ZeroEval, MMLU-Pro, RouteLLM, Arena-Hard, AlpacaEval.

These runs have no nodes: a graph asks their question until its verdict is good. ``chance``
is left open here (`difficulty.calibrated`). Lengths are cut at the limit that the models
were served with.

* Arena-Hard and AlpacaEval have no right answer: every label is `ok`; only lengths count.
* RouteLLM's MMLU labels have no lengths: their `output_tokens` is 0, which is "not told"
  here and nowhere else. Use ``where={"set": "gsm8k"}`` where lengths matter.
* MMLU-Pro's prompts leave out the five examples that came before the question.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from headway.sim.loaders.rows import Count, Rows, written
from headway.sim.trace import Label, Question, TraceRun

ZEROEVAL_SOURCE = "ZeroEval (WildEval/ZeroEval, Apache-2.0; prompts MIT)"
MMLUPRO_SOURCE = "MMLU-Pro model outputs (TIGER-AI-Lab/MMLU-Pro, Apache-2.0)"
ROUTELLM_SOURCE = "RouteLLM labels (lm-sys/RouteLLM, Apache-2.0)"
ARENA_SOURCE = "Arena-Hard answers (lmarena/arena-hard-auto, Apache-2.0)"
ALPACA_SOURCE = "AlpacaEval outputs (tatsu-lab/alpaca_eval; numbers only)"

ZEROEVAL_LIMIT = 4096
MMLUPRO_LIMIT = 2048
SMALL = "Mixtral-8x7B-Instruct-v0.1"
LARGE = "gpt-4-1106-preview"

Right = Annotated[int, msgspec.Meta(ge=0, le=1)]


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One model's answer: right or wrong, tokens, and a remark that is not used."""

    ok: Right
    output_tokens: Count
    remark: float = 0


class Length(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One model's answer without right or wrong: tokens, and a judge's score where there is one."""

    output_tokens: Count
    score: float | None = None


class ZeroEvalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A question of GSM8K, MATH level 5 or CRUXEval."""

    id: str
    set: str
    prompt: str
    prompt_tok: Count
    r: dict[str, Mark]


class MmluProRow(msgspec.Struct, frozen=True, kw_only=True):
    """A question of MMLU-Pro."""

    id: int
    cat: str
    prompt: str
    prompt_tok: Count
    r: dict[str, Mark]


class RouteLlmRow(msgspec.Struct, frozen=True, kw_only=True):
    """A question with a small and a large model's label."""

    id: str
    set: str
    subject: str
    prompt: str
    prompt_tok: Count
    small_ok: Right
    large_ok: Right
    small_out: Count | None = None
    large_out: Count | None = None


class ArenaRow(msgspec.Struct, frozen=True, kw_only=True):
    """An open-ended prompt."""

    id: str
    set: str
    cat: str
    prompt: str
    prompt_tok: Count
    r: dict[str, Length]


class AlpacaRow(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction, without its text."""

    id: str
    set: str
    prompt_tok: Count
    r: dict[str, Length]


def zeroeval(rows: Rows) -> Iterator[TraceRun]:
    """A question's kind is its set: ``gsm``, ``math-l5`` or ``crux``."""
    for row in rows.of(ZeroEvalRow):
        labels = _marked(row.r, ZEROEVAL_LIMIT)
        yield _asked("zeroeval", row.id, row.set, row.prompt_tok, labels, row.prompt)


def mmlupro(rows: Rows) -> Iterator[TraceRun]:
    """A question's kind is its category."""
    for row in rows.of(MmluProRow):
        labels = _marked(row.r, MMLUPRO_LIMIT)
        yield _asked("mmlupro", f"mmlupro/{row.id}", row.cat, row.prompt_tok, labels, row.prompt)


def routellm(rows: Rows) -> Iterator[TraceRun]:
    """A question's kind is its set: ``gsm8k`` or ``mmlu``."""
    for row in rows.of(RouteLlmRow):
        labels = {
            SMALL: Label(ok=bool(row.small_ok), output_tokens=row.small_out or 0),
            LARGE: Label(ok=bool(row.large_ok), output_tokens=row.large_out or 0),
        }
        yield _asked("routellm", row.id, row.set, row.prompt_tok, labels, row.prompt)


def arena(rows: Rows) -> Iterator[TraceRun]:
    """A question's kind is its category."""
    for row in rows.of(ArenaRow):
        yield _asked("arena", row.id, row.cat, row.prompt_tok, _measured(row.r), row.prompt)


def alpaca(rows: Rows) -> Iterator[TraceRun]:
    """A question's kind is its set."""
    for row in rows.of(AlpacaRow):
        yield _asked("alpaca", row.id, row.set, row.prompt_tok, _measured(row.r), "")


def _marked(marks: dict[str, Mark], limit: int) -> dict[str, Label]:
    return {
        model: Label(ok=mark.ok == 1, output_tokens=min(written(mark.output_tokens), limit))
        for model, mark in marks.items()
    }


def _measured(lengths: dict[str, Length]) -> dict[str, Label]:
    return {
        model: Label(ok=True, output_tokens=written(length.output_tokens))
        for model, length in lengths.items()
    }


def _asked(
    graph: str, run: str, kind: str, prompt_tokens: int, labels: dict[str, Label], text: str
) -> TraceRun:
    question = Question(kind=kind, prompt_tokens=prompt_tokens, labels=labels, text=text)
    return TraceRun(id=run, graph=graph, group=run, question=question)
