"""What ``headway assess`` found about confidence, as tables for terminals and for pages."""

from collections.abc import Iterator
from statistics import fmean, stdev

import msgspec
from rich.console import Console
from rich.table import Table

from headway.sim.assess.chances import ChanceScores
from headway.sim.assess.frontier import LARGE_PRICE, SMALL_PRICE
from headway.sim.assess.judging import FORECASTERS, OUTCOMES, JudgedSplit
from headway.sim.assess.labelled import LabelledSet

MEASURES: dict[str, tuple[str, float, str]] = {
    "auc": ("AUC", 1.0, ".3f"),
    "gain": ("Brier below the rate's, 1e-4", 1e4, "+.0f"),
    "ece": ("ECE", 1.0, ".3f"),
}
"""By measure of a chance: its heading, its unit, and how it is written."""
ORDERS: dict[str, tuple[str, float, str]] = {
    "area": ("area", 1.0, ".3f"),
    "at_80": ("80 %", 1.0, ".2f"),
    "at_90": ("90 %", 1.0, ".2f"),
    "at_95": ("95 %", 1.0, ".2f"),
    "above": ("no worse at", 100.0, ".0f %"),
    "least": ("least difference, points", 100.0, "+.1f"),
}
"""By measure of a frontier, likewise."""


class AssessedPair(msgspec.Struct, frozen=True, kw_only=True):
    """Confidence on one labelled set and pair of models, split by split.

    `encode_ms` is what `encoder` took for a prompt, in batches.
    """

    set_name: str
    source: str
    small: str
    large: str
    questions: int
    splits: tuple[JudgedSplit, ...]
    encoder: str = ""
    encode_ms: float = 0.0


def assessed(
    known: LabelledSet, splits: list[JudgedSplit], *, encoder: str = "", encode_ms: float = 0.0
) -> AssessedPair:
    """The set's splits under its name."""
    return AssessedPair(
        set_name=known.name,
        source=known.source,
        small=known.pair.small,
        large=known.pair.large,
        questions=len(known.questions),
        splits=tuple(splits),
        encoder=encoder,
        encode_ms=encode_ms,
    )


def show_pair(console: Console, found: AssessedPair) -> None:
    """Two tables, means over the splits."""
    table = Table(title=f"{found.set_name}: confidence, {found.questions} questions")
    for title in ("forecaster", *_chance_titles()):
        table.add_column(title, justify="left" if title == "forecaster" else "right")
    for name in _forecasters(found):
        table.add_row(name, *_chances(found, name, spread=False))
    console.print(table)
    if not found.splits[0].frontiers:
        return
    table = Table(title=f"{found.set_name}: success for its cost, prices {_prices()}")
    for title in ("order", *(title for title, _, _ in ORDERS.values())):
        table.add_column(title, justify="left" if title == "order" else "right")
    for name in found.splits[0].frontiers:
        table.add_row(name, *_frontiers(found, name, spread=False))
    console.print(table)


def pairs_markdown(found: tuple[AssessedPair, ...], *, code: str) -> str:
    """The tables, with the spread over the splits; `code` says what they were made by."""
    return "\n".join(_lines(found, code)) + "\n" if found else ""


def _lines(found: tuple[AssessedPair, ...], code: str) -> Iterator[str]:
    yield f"{code}; mean over {len(found[0].splits)} splits by prompt text"
    yield "(half to learn from, half to be judged on) ± their standard deviation."
    for one in found:
        yield f"\n### {one.set_name}\n"
        yield f"{one.small} and {one.large}, {one.questions} questions. {one.source}.\n"
        yield from _sizes(one)
        yield "\n" + _row(["forecaster", *_chance_titles()])
        yield "| --- |" + " ---: |" * len(_chance_titles())
        for name in _forecasters(one):
            yield _row([name, *_chances(one, name, spread=True)])
        if one.splits[0].frontiers:
            ratio = fmean(split.cost_ratio for split in one.splits)
            yield f"\nAll to the large model costs {ratio:.1f} times all to the small one.\n"
            yield _row(["order", *(title for title, _, _ in ORDERS.values())])
            yield "| --- |" + " ---: |" * len(ORDERS)
            for name in one.splits[0].frontiers:
                yield _row([name, *_frontiers(one, name, spread=True)])


def _forecasters(found: AssessedPair) -> list[str]:
    """Those that were judged, in the order of the tables."""
    return [name for name in FORECASTERS if name in found.splits[0].scores]


def _sizes(found: AssessedPair) -> Iterator[str]:
    """Rates, Brier of the rate, the floor of the calibration error, and what forecasting takes."""
    for outcome in OUTCOMES:
        some, ours = (_scores(found, name, outcome) for name in ("constant", "headway"))
        if not some:
            yield f"* {outcome}: never, on any split"
            continue
        yield (
            f"* {outcome}: right {fmean(one.right for one in some):.3f} of "
            f"{fmean(one.answers for one in some):.0f}; Brier of the rate "
            f"{fmean(one.brier for one in some):.4f}; ECE of exactly right forecasts such as "
            f"headway's {fmean(one.ece_floor for one in ours):.3f}"
        )
    took = [split.took for split in found.splits]
    yield (
        f"* a forecast for both models from the text on takes "
        f"{fmean(one.forecast_us for one in took) / 1e3:.2f} ms (P99 "
        f"{max(one.forecast_p99_us for one in took) / 1e3:.2f}), to learn an answer "
        f"{fmean(one.learn_us for one in took) / 1e3:.2f} ms, what was learned of both "
        f"{fmean(one.state_bytes for one in took) / 1e6:.1f} MB"
    )
    if found.encoder:
        yield f"* the encoder ({found.encoder}) takes {found.encode_ms:.1f} ms a prompt, in batches"


def _chance_titles() -> list[str]:
    return [f"{outcome}: {title}" for title, _, _ in MEASURES.values() for outcome in OUTCOMES]


def _chances(found: AssessedPair, name: str, *, spread: bool) -> list[str]:
    return [
        _told(
            [getattr(one, key) for one in _scores(found, name, outcome)],
            MEASURES[key],
            spread=spread,
        )
        for key in MEASURES
        for outcome in OUTCOMES
    ]


def _scores(found: AssessedPair, name: str, outcome: str) -> list[ChanceScores]:
    """Of the splits that have such an outcome."""
    told = (split.scores[name].get(outcome) for split in found.splits)
    return [one for one in told if one is not None]


def _frontiers(found: AssessedPair, name: str, *, spread: bool) -> list[str]:
    return [
        _told(
            [getattr(split.frontiers[name], key) for split in found.splits],
            ORDERS[key],
            spread=spread,
        )
        for key in ORDERS
    ]


def _told(values: list[float], how: tuple[str, float, str], *, spread: bool) -> str:
    if not values:
        return "-"
    _, unit, shape = how
    number, _, tail = shape.partition(" ")
    text = format(unit * fmean(values), number)
    if spread and len(values) > 1:
        text += " ± " + format(unit * stdev(values), number.lstrip("+"))
    return f"{text} {tail}" if tail else text


def _prices() -> str:
    return f"{SMALL_PRICE:g}:{LARGE_PRICE:g} per output token"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
