"""``headway assess DATA``: how well output lengths and right answers are foreseen."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway.cli.tell import wide_console
from headway.core.errors import ConfigError

DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="The folder of data sets.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Every number, as JSON.")]
PageOption = Annotated[
    Path | None,
    typer.Option("--page", help="Write the tables into this page, between its markers."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Only this set; may be repeated.")
]
SplitsOption = Annotated[int, typer.Option("--splits", min=1, help="Splits by task.")]
PART = "assess"
CONFIDENCE_PART = "confidence"


def assess(
    data: DataArgument,
    json_file: JsonOption = None,
    page: PageOption = None,
    sets: SetOption = None,
    splits: SplitsOption = 5,
) -> None:
    """Judge predictors on recorded runs and labelled questions: ours beside the simple ones."""
    try:
        # of the extra `sim`, which other commands do without
        from headway.sim.assess import confidence_run, telling
        from headway.sim.assess.lengths import FORECASTERS, judge
        from headway.sim.assess.measures import Scores
        from headway.sim.assess.sets import halves, read_set
        from headway.sim.report.marked import written
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed: headway assess needs pip install 'headway[sim]'"
        ) from None
    if not data.is_dir():
        raise ConfigError(f"{data}: there is no such folder")
    wanted, pairs = confidence_run.parted(sets)
    # a page without a place for what is found is refused before the work
    parts = [part for part, some in ((PART, wanted), (CONFIDENCE_PART, pairs)) if some and page]
    text = written(_text_of(page), dict.fromkeys(parts, "")) if page is not None else ""
    clock = time.perf_counter  # noqa: TID251  # how long forecasts take is a measure, no input
    console = wide_console()
    found = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=len(wanted) * splits * len(FORECASTERS))
        for name in wanted:
            known = read_set(name, data)
            scores: dict[str, list[Scores]] = {each: [] for each in FORECASTERS}
            for split in range(splits):
                train, test = halves(known.runs, split)
                for each, make in FORECASTERS.items():
                    progress.update(task, description=f"{name}, split {split + 1}: {each}")
                    scores[each].append(judge(make, train, test, clock=clock))
                    progress.advance(task)
            one = telling.Assessed(
                set_name=name,
                source=known.source,
                runs=len(known.runs),
                calls=sum(len(run.calls) for run in known.runs),
                scores={each: tuple(done) for each, done in scores.items()},
            )
            telling.show(console, one)
            found.append(one)
    judged = confidence_run.judge_pairs(pairs, data, splits=splits, clock=clock, console=console)
    whole = telling.assessment(splits, lengths=found, confidences=judged)
    made = {PART: telling.markdown(whole), CONFIDENCE_PART: telling.confidence_markdown(whole)}
    _write(json_file, msgspec.json.format(msgspec.json.encode(whole), indent=1))
    _write(page, written(text, {part: made[part] for part in parts}).encode())


def _write(path: Path | None, content: bytes) -> None:
    if path is None:
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _text_of(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{page}: cannot be read: {error.strerror}") from None
