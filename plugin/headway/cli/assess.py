"""``headway assess DATA``: how well lengths and horizons are foreseen on recorded runs."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway import __version__
from headway.cli.tell import wide_console
from headway.core.errors import ConfigError

if TYPE_CHECKING:
    from headway.sim.assess.telling import Assessment

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
HORIZONS = "horizons"


def assess(
    data: DataArgument,
    json_file: JsonOption = None,
    page: PageOption = None,
    sets: SetOption = None,
    splits: SplitsOption = 5,
) -> None:
    """Judge predictors of lengths and of what is left of runs: ours beside the simple ones."""
    try:
        # of the extra `sim`, which other commands do without
        from headway.sim.assess.ends import assess_horizon, forecasts, show_horizon
        from headway.sim.assess.lengths import FORECASTERS
        from headway.sim.assess.sets import SETS, read_set
        from headway.sim.assess.telling import Assessment, assess_length, show
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
        for part in (PART, HORIZONS):  # a page without a place is refused before the work
            rewritten(text, part, "")
    clock = time.perf_counter  # noqa: TID251  # how long forecasts take is a measure, no input
    console = wide_console()
    found, ends = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        wanted = sets or list(SETS)
        steps = splits * len(FORECASTERS) + forecasts(splits)
        task = progress.add_task("reading", total=len(wanted) * steps)

        def advance(doing: str) -> None:
            progress.update(task, description=doing, advance=1)

        for name in wanted:
            known = read_set(name, data)
            one = assess_length(known, splits, clock=clock, advance=advance)
            show(console, one)
            found.append(one)
            for left in assess_horizon(known, splits, clock=clock, advance=advance):
                show_horizon(console, left)
                ends.append(left)
    whole = Assessment(
        version=__version__,
        commit=commit(),
        splits=splits,
        lengths=tuple(found),
        horizons=tuple(ends),
    )
    _write(whole, json_file, page, text)


def _write(whole: "Assessment", json_file: Path | None, page: Path | None, text: str) -> None:
    """All numbers into a file, the tables into `page`, whose `text` was read before the work."""
    from headway.sim.assess.ends import horizon_page
    from headway.sim.assess.telling import head, markdown
    from headway.sim.report.marked import rewritten

    try:
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
        if page is not None:
            text = rewritten(text, PART, markdown(whole))
            text = rewritten(text, HORIZONS, horizon_page(head(whole), whole.horizons))
            page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None


def _text_of(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{page}: cannot be read: {error.strerror}") from None
