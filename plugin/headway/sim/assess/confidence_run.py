"""Judges confidence on labelled sets, one after the other, for ``headway assess``."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway.core.errors import ConfigError, nearest
from headway.encoding.encoder import Encoder
from headway.sim.assess.confidence_tables import AssessedPair, assessed, show_pair
from headway.sim.assess.judging import judge_split
from headway.sim.assess.labelled import PAIRS, read_by, read_pair, split_questions
from headway.sim.assess.sets import SETS


def parted(names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Sets of recorded runs, and labelled sets, of those named (none named: all).

    Raises `ConfigError` for a name that is neither.
    """
    if not names:
        return list(SETS), list(PAIRS)
    for name in names:
        if name not in SETS and name not in PAIRS:
            raise ConfigError(f"no set {name!r}{nearest(name, (*SETS, *PAIRS))}")
    return [name for name in names if name in SETS], [name for name in names if name in PAIRS]


def judge_pairs(
    names: Sequence[str],
    folder: Path,
    *,
    splits: int,
    clock: Callable[[], float],
    console: Console,
    encoder: Encoder | None = None,
) -> tuple[AssessedPair, ...]:
    """Each labelled set on its splits, shown as it is done. Raises `ConfigError`."""
    found = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=len(names) * splits)
        for name in names:
            known = read_pair(name, folder)
            judged = []
            about, encode_ms = "", 0.0
            if encoder is not None:
                progress.update(task, description=f"{name}, encoding")
                began = clock()
                known = read_by(encoder, known)
                about = encoder.about
                encode_ms = 1e3 * (clock() - began) / len(known.questions)
            for split in range(splits):
                progress.update(task, description=f"{name}, split {split + 1}")
                train, test = split_questions(known.questions, split)
                judged.append(judge_split(train, test, has_lengths=known.has_lengths, clock=clock))
                progress.advance(task)
            one = assessed(known, judged, encoder=about, encode_ms=encode_ms)
            show_pair(console, one)
            found.append(one)
    return tuple(found)
