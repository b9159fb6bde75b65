"""``headway simulate``: plays a suite, or a recording on a pool, in virtual time.

What the command line means and what is printed; how cells are played is in `headway.sim`.
"""

import importlib.util
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from headway.cli.tell import wide_console
from headway.core.errors import ConfigError, HeadwayError
from headway.core.pool import Pool
from headway.daemon.config import load_config
from headway.engine import EngineProfile

if TYPE_CHECKING:
    from headway.sim.pools import SimPool
    from headway.sim.runner import Options
    from headway.sim.suite import SizeName, Suite

NEEDS = ("numpy", "matplotlib")
WHAT_IF = "what-if"

SuiteArgument = Annotated[
    str | None,
    typer.Argument(metavar="[SUITE]", help="A shipped suite or a file; without: list them."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The folder of data sets (NAME.PART.jsonl.gz).")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Where the report goes.", show_default="./simulate-out/SUITE"),
]
PolicyOption = Annotated[
    str | None,
    typer.Option("--policy", metavar="ID,...", help="Only these policies.", show_default="all"),
]
LoadOption = Annotated[
    str | None,
    typer.Option(
        "--load",
        metavar="X,...",
        help="Loads: multiples of the knee (with --journal: of the recorded rate), 0 is idle.",
    ),
]
QuickOption = Annotated[bool, typer.Option("--quick", help="Every policy on few runs.")]
FullOption = Annotated[bool, typer.Option("--full", help="Everything: hours.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds.")]
RunsOption = Annotated[int | None, typer.Option("--runs", min=2, help="Runs of a cell.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes.", show_default="all cores")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Take no finished cells from --out.")]
JournalOption = Annotated[
    Path | None, typer.Option("--journal", help="Replay this recording instead: what if?")
]
PoolOption = Annotated[
    Path | None, typer.Option("--pool", help="The pool (headway.yaml) that --journal runs on.")
]


def simulate(  # noqa: PLR0913  # one parameter an option
    suite: SuiteArgument = None,
    data: DataOption = None,
    out: OutOption = None,
    policy: PolicyOption = None,
    load: LoadOption = None,
    quick: QuickOption = False,
    full: FullOption = False,
    seeds: SeedsOption = None,
    runs: RunsOption = None,
    workers: WorkersOption = None,
    fresh: FreshOption = False,
    journal: JournalOption = None,
    pool: PoolOption = None,
) -> None:
    """Judge policies in virtual time: a suite, or your own recording on a pool."""
    _check_installed()
    if suite is None and journal is None and pool is None:
        _list_suites()
        return
    if quick and full:
        raise ConfigError("--quick and --full exclude each other")
    from headway.sim.runner import Options

    chosen, base, own = _chosen(suite, journal, pool)
    size: SizeName = "quick" if quick else "full" if full else "default"
    options = Options(
        out=out or Path("simulate-out") / chosen.name,
        size=size,
        data=data.expanduser() if data is not None else None,
        base=base,
        policies=_listed(policy, "--policy"),
        seeds=seeds,
        runs=runs,
        loads=tuple(_number(each) for each in _listed(load, "--load")),
        workers=workers or os.cpu_count() or 1,
        fresh=fresh,
        pool=own,
        command=" ".join(["headway", *sys.argv[1:]]),
        started=datetime.now().astimezone().isoformat(timespec="seconds"),  # noqa: TID251  # a report says when
    )
    _run(chosen, options)


def _check_installed() -> None:
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not installed: the laboratory needs pip install 'headway[sim]'"
        )


def _list_suites() -> None:
    from headway.sim.suite import SUITES, load_suite

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name in SUITES:
        table.add_row(name, escape(load_suite(name)[0].about))
    wide_console().print(table)
    print(
        "headway simulate SUITE [--data DIR] [--quick]; or: --journal JOURNAL --pool headway.yaml"
    )


def _listed(text: str | None, option: str) -> tuple[str, ...]:
    if text is None:
        return ()
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise ConfigError(f"{option}: is empty")
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--load: {text!r} is no number") from None


def _chosen(
    suite: str | None, journal: Path | None, pool: Path | None
) -> tuple["Suite", Path | None, "tuple[SimPool, Pool] | None"]:
    """The suite, the folder of its file, and the user's own pool if there is one."""
    from headway.sim.suite import load_suite

    if journal is None and pool is None:
        found, base = load_suite(suite or "")
        return found, base, None
    if suite is not None:
        raise ConfigError(f"a suite ({suite}) and --journal with --pool exclude each other")
    if journal is None or pool is None:
        raise ConfigError("--journal JOURNAL and --pool headway.yaml belong together")
    if not journal.exists():
        raise ConfigError(f"--journal: there is no {journal}")
    from headway.sim.poolspec import own_pool
    from headway.sim.whatif import what_if_suite

    config = load_config(pool)
    truths, speedup = _truths(pool)
    own = own_pool(config.pool, pool.name, truths)
    return what_if_suite(journal.absolute(), WHAT_IF, speedup=speedup), None, own


def _truths(path: Path) -> tuple[dict[str, EngineProfile], float]:
    """The true speeds of an ``emulate:`` section, by endpoint, and how fast it lets time pass."""
    import yaml

    from headway.emulate.config import read_truths

    return read_truths(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))


def _run(suite: "Suite", options: "Options") -> None:
    from headway.sim.report.page import write_report
    from headway.sim.report.terminal import table
    from headway.sim.results import RESULTS_NAME, write_results
    from headway.sim.runner import run_suite

    watch = Screen()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: kept, and told
    try:
        with watch:
            results = run_suite(suite, options, watch)
    except KeyboardInterrupt:
        again = f"; the same command goes on from there ({options.out})"
        print(f"headway: interrupted: {watch.done} cells more are kept{again}", file=sys.stderr)
        raise SystemExit(130) from None
    except OSError as error:
        raise HeadwayError(f"--out: cannot write {options.out}: {error}") from error
    write_results(results, options.out / RESULTS_NAME)
    page = write_report(results, options.out)
    table(results, wide_console())
    print(f"report: {page}\nnumbers: {options.out / RESULTS_NAME}")


class Screen:
    """Progress on a terminal: cells, calls a second, how long it will take. A `Watch`."""

    def __init__(self) -> None:
        self.done = 0
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task = (
            None
            if self._progress.disable
            else self._progress.add_task("reading", total=None, rate="")
        )
        self._calls = 0

    def __enter__(self) -> "Screen":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int) -> None:
        """A stage with `total` jobs begins."""
        self.done = self._calls = 0
        if self._task is not None:
            self._progress.reset(self._task, description=what, total=total, rate="")

    def advance(self, calls: int) -> None:
        """One job is done; it played so many calls."""
        self.done += 1
        self._calls += calls
        if self._task is None:
            return
        elapsed = self._progress.tasks[0].elapsed or 0.0
        rate = f"{self._calls / elapsed:,.0f} calls/s" if self._calls and elapsed else ""
        self._progress.update(self._task, advance=1, rate=rate)

    def say(self, text: str) -> None:
        """Something that a user wants to know."""
        self._console.print(f"headway: {escape(text)}", highlight=False)
