"""``headway assess DATA``: how well lengths, ends of runs and right answers are foreseen."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway.cli.tell import wide_console
from headway.core.errors import ConfigError
from headway.encoding.encoder import Encoder, open_encoder

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
EncoderOption = Annotated[
    Path | None,
    typer.Option("--encoder", help="Judge confidence with this encoder of sentences besides."),
]


def assess(
    data: DataArgument,
    json_file: JsonOption = None,
    page: PageOption = None,
    sets: SetOption = None,
    splits: SplitsOption = 5,
    encoder: EncoderOption = None,
) -> None:
    """Judge predictors on recorded runs and labelled questions: ours beside the simple ones."""
    try:
        # of the extra `sim`, which other commands do without
        from headway.sim.assess import confidence_run, pages
        from headway.sim.report.marked import written
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed: headway assess needs pip install 'headway[sim]'"
        ) from None
    if not data.is_dir():
        raise ConfigError(f"{data}: there is no such folder")
    wanted, pairs = confidence_run.parted(sets)
    parts = pages.parts_of(wanted, pairs, encoded=encoder is not None)
    reader = None if encoder is None or not pairs else open_encoder(encoder)
    # a page without a place for what is found, and a file in no folder, are refused before the work
    if json_file is not None and not json_file.parent.is_dir():
        raise ConfigError(f"{json_file}: there is no folder for it")
    text = "" if page is None else written(_text_of(page), dict.fromkeys(parts, ""))
    whole = _judged(wanted, pairs, data, splits, reader)
    if page is not None:
        try:
            made = pages.contents(whole, parts, page.parent)
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None
        _write(page, written(text, made).encode())
    if json_file is not None:
        _write(json_file, msgspec.json.format(msgspec.json.encode(whole), indent=1))


def _judged(
    wanted: list[str], pairs: list[str], data: Path, splits: int, encoder: Encoder | None
) -> "Assessment":
    """Every set, shown as it is done."""
    from headway.sim.assess import confidence_run, labelled, recorded, telling, texts
    from headway.sim.assess.sets import read_set

    clock = time.perf_counter  # noqa: TID251  # how long forecasts take is a measure, no input
    console = wide_console()
    whole = telling.Assessment(splits=splits)
    by_text = pairs if encoder is None else []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        steps = len(wanted) * recorded.steps(splits)
        steps += len(by_text) * splits * len(texts.TEXT_FORECASTERS)
        task = progress.add_task("reading", total=steps)

        def advance(doing: str) -> None:
            progress.update(task, description=doing, advance=1)

        for name in wanted:
            recorded.judge_set(
                whole, read_set(name, data), clock=clock, console=console, advance=advance
            )
        for name in by_text:
            asked = labelled.read_pair(name, data)
            if asked.has_lengths:
                whole.texts.append(texts.assess_text(asked, splits, clock=clock, advance=advance))
                texts.show(console, whole.texts[-1])
    whole.confidences.extend(
        confidence_run.judge_pairs(
            pairs, data, splits=splits, clock=clock, console=console, encoder=encoder
        )
    )
    return whole


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _text_of(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{page}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{page}: not a text in UTF-8") from None
