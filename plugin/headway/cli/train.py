"""``headway train OUT``: what a daemon may start with, learned from journals, traces and labels."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headway.cli.tell import wide_console
from headway.core.errors import ConfigError
from headway.daemon.config import DEFAULT_FILE, Config, load_config
from headway.daemon.modelfile import write_model
from headway.daemon.training import journal_files, learn_journal, learn_labels

MOST_BYTES = 20_000_000
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="The file that is written.")]
ConfigOption = Annotated[
    Path, typer.Option("--config", help="The pool that traces and labels are about.")
]
JournalOption = Annotated[
    list[Path] | None,
    typer.Option("--journal", help="A daemon's journal, or a folder of them; may be repeated."),
]
TraceOption = Annotated[
    list[Path] | None,
    typer.Option("--trace", help="Recorded runs in Headway's trace format; may be repeated."),
]
LabelsOption = Annotated[
    list[Path] | None,
    typer.Option("--labels", help="Judged answers, one JSON object a line; may be repeated."),
]


def train(
    out: OutArgument,
    config: ConfigOption = Path(DEFAULT_FILE),
    journal: JournalOption = None,
    trace: TraceOption = None,
    labels: LabelsOption = None,
) -> None:
    """Learn offline, for `headway up --learned OUT`: traces first, then journals, then labels."""
    if not (journal or trace or labels):
        raise ConfigError("nothing to learn from: name a --journal, a --trace or --labels")
    console = wide_console()
    known: dict[str, Any] | None = None
    told: list[str] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading")
        if trace:
            progress.update(task, description=f"{len(trace)} traces")
            known, runs = _from_traces(trace, load_config(config))
            told.append(f"{runs} runs of {len(trace)} traces")
        files = [file for path in journal or () for file in journal_files(path)]
        for file in files:
            progress.update(task, description=str(file))
            known = learn_journal(file, known)
        if files:
            told.append(f"{len(files)} journals")
        for path in labels or ():
            progress.update(task, description=str(path))
            known, count = learn_labels(path, load_config(config).pool, known)
            told.append(f"{count} labels")
    assert known is not None
    try:
        write_model(out, known)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None
    size = out.stat().st_size
    console.print(f"{out}: learned from {', '.join(told)}; {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        console.print(f"that is more than {MOST_BYTES / 1e6:.0f} MB: name fewer sources")


def _from_traces(paths: list[Path], config: Config) -> tuple[dict[str, Any], int]:
    """What a scheduler knows once the runs were played, one after the other, on the pool."""
    try:
        # of the extra `sim`, which other commands do without
        from headway.predict.foresight import OnlineForesight
        from headway.sim.luck import Luck
        from headway.sim.poolspec import POOL_NAME, own_pool
        from headway.sim.tracefile import read_trace
        from headway.sim.world import Rules, rehearse
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed: --trace needs pip install 'headway[sim]'"
        ) from None
    servers, belief = own_pool(config.pool, str(config.path))
    runs = tuple(run for path in paths for run in read_trace(path).runs)
    questions = {
        f"history/{number}": run.question
        for number, run in enumerate(runs)
        if run.question is not None
    }
    known = rehearse(
        runs,
        pool=servers,
        belief=belief,
        foresight=OnlineForesight(config.pool.quality),
        luck=Luck(questions, seed=0, rho=1.0),
        rules=Rules(pool_name=POOL_NAME),
    )
    return known, len(runs)
