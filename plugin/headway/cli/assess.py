"""``headway assess DATA``: how well output lengths are foreseen on recorded runs."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway import __version__
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


def assess(
    data: DataArgument,
    json_file: JsonOption = None,
    page: PageOption = None,
    sets: SetOption = None,
    splits: SplitsOption = 5,
) -> None:
    """Judge predictors of output length on recorded runs: ours beside the simple ones."""
    try:
        # of the extra `sim`, which other commands do without
        from headway.sim.assess.lengths import FORECASTERS, judge
        from headway.sim.assess.measures import Scores
        from headway.sim.assess.sets import SETS, halves, read_set
        from headway.sim.assess.telling import Assessed, Assessment, markdown, show
        from headway.sim.provenance import commit
        from headway.sim.report.marked import rewritten
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed: headway assess needs pip install 'headway[sim]'"
        ) from None
    if not data.is_dir():
        raise ConfigError(f"{data}: there is no such folder")
    text = ""
    if page is not None:
        text = _text_of(page)
        rewritten(text, PART, "")  # a page without a place for it is refused before the work
    clock = time.perf_counter  # noqa: TID251  # how long forecasts take is a measure, no input
    console = wide_console()
    found = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        wanted = sets or list(SETS)
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
            one = Assessed(
                set_name=name,
                source=known.source,
                runs=len(known.runs),
                calls=sum(len(run.calls) for run in known.runs),
                scores={each: tuple(done) for each, done in scores.items()},
            )
            show(console, one)
            found.append(one)
    whole = Assessment(version=__version__, commit=commit(), splits=splits, lengths=tuple(found))
    try:
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
        if page is not None:
            page.write_text(rewritten(text, PART, markdown(whole)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None


def _text_of(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{page}: cannot be read: {error.strerror}") from None
