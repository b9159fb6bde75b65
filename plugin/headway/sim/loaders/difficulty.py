"""How likely a model's answer to a question is right, given how hard the question is.

A question's difficulty for a model is told by the *other* models: the mean of their labels.
A logistic curve of it, fitted per model (and per kind where a kind has enough questions),
is the chance that a repeat of the same model would be right. It is in-sample: two
parameters on hundreds of labels.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from headway.sim.trace import Question, Trace

OTHERS = 3
"""Models besides the one in question that must have answered."""
KIND_ROWS = 200
"""Questions from which on a kind has curves of its own."""
RIDGE = 0.01
"""Keeps a curve finite where a model is always right, or labels are separable."""
STEPS = 60

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def calibrated(
    questions: Sequence[Question],
) -> tuple[tuple[Question, ...], dict[str, float]]:
    """The questions with each label's `chance`, and by model the AUC of it against the labels.

    A label keeps None where fewer than three other models answered. A model whose labels are
    all right or all wrong has no AUC.
    """
    models = sorted({model for question in questions for model in question.labels})
    column = {model: number for number, model in enumerate(models)}
    marks = np.full((len(questions), len(models)), np.nan)
    for row, question in enumerate(questions):
        for model, label in question.labels.items():
            marks[row, column[model]] = label.ok
    there = ~np.isnan(marks)
    others = there.sum(axis=1, keepdims=True) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        ease = (np.nansum(marks, axis=1, keepdims=True) - marks) / others
    usable = there & (others >= OTHERS)
    chances = np.full_like(marks, np.nan)
    for group, whole in _groups(questions):
        for number in range(len(models)):
            fitted = usable[:, number] & whole
            into = usable[:, number] & group
            if into.any():
                curve = logistic(ease[fitted, number], marks[fitted, number])
                chances[into, number] = probability(curve, ease[into, number])
    quality = {
        model: auc(chances[usable[:, number], number], marks[usable[:, number], number] == 1.0)
        for model, number in column.items()
    }
    filled = tuple(
        _with_chances(question, chances[row], column) for row, question in enumerate(questions)
    )
    return filled, {model: value for model, value in quality.items() if value is not None}


def with_chances(trace: Trace) -> tuple[Trace, dict[str, float]]:
    """The trace with its questions `calibrated`, and the AUC by model."""
    places = [place for place, run in enumerate(trace.runs) if run.question is not None]
    asked = [run.question for run in trace.runs if run.question is not None]
    filled, quality = calibrated(asked)
    runs = list(trace.runs)
    for place, question in zip(places, filled, strict=True):
        runs[place] = msgspec.structs.replace(runs[place], question=question)
    return msgspec.structs.replace(trace, runs=tuple(runs)), quality


def logistic(ease: Vector, right: Vector) -> tuple[float, float, float]:
    """(intercept, slope, centre) of P(right | ease), by Newton's method with a small ridge."""
    centre = float(ease.mean())
    design = np.column_stack((np.ones_like(ease), ease - centre))
    weights = np.zeros(2)
    loss = _loss(design, right, weights)
    for _ in range(STEPS):
        chance = _sigmoid(design @ weights)
        gradient = design.T @ (chance - right) + RIDGE * weights
        curvature = (design * (chance * (1.0 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + RIDGE * np.eye(2), gradient)
        scale = 1.0
        while (after := _loss(design, right, weights - scale * step)) > loss and scale > 1e-6:
            scale /= 2.0
        weights = weights - scale * step
        if loss - after < 1e-9:
            break
        loss = after
    return float(weights[0]), float(weights[1]), centre


def probability(curve: tuple[float, float, float], ease: Vector) -> Vector:
    """The chance at each ease, by a curve of `logistic`."""
    intercept, slope, centre = curve
    return _sigmoid(intercept + slope * (ease - centre))


def auc(score: Vector, right: Flags) -> float | None:
    """The chance that a right answer scores higher than a wrong one; a tie counts half."""
    good, bad = int(right.sum()), int((~right).sum())
    if not good or not bad:
        return None
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0
    return float((rank[place][right].sum() - good * (good + 1) / 2.0) / (good * bad))


def _groups(questions: Sequence[Question]) -> list[tuple[Flags, Flags]]:
    """(whose chances, fitted on what): large kinds on themselves, small ones on everything."""
    kinds = np.array([question.kind for question in questions])
    everything = np.ones(len(questions), dtype=np.bool_)
    groups: list[tuple[Flags, Flags]] = []
    small = everything.copy()
    for kind in sorted(set(kinds.tolist())):
        of_kind = kinds == kind
        if of_kind.sum() >= KIND_ROWS:
            groups.append((of_kind, of_kind))
            small &= ~of_kind
    return [*groups, (small, everything)]


def _with_chances(question: Question, chances: Vector, column: dict[str, int]) -> Question:
    labels = {}
    for model, label in question.labels.items():
        chance = float(chances[column[model]])
        known = None if np.isnan(chance) else chance
        labels[model] = msgspec.structs.replace(label, chance=known)
    return msgspec.structs.replace(question, labels=labels)


def _sigmoid(value: Vector) -> Vector:
    half: Vector = 0.5 * (1.0 + np.tanh(0.5 * value))
    return half


def _loss(design: Vector, right: Vector, weights: Vector) -> float:
    value = design @ weights
    told = np.logaddexp(0.0, value) - right * value
    return float(told.sum() + 0.5 * RIDGE * (weights @ weights))
