"""What a report says besides its numbers: workloads, notes, versions, digests."""

import hashlib
import platform
import subprocess
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np

from headway import __version__
from headway.core.pool import Pool
from headway.sim.pools import SimPool
from headway.sim.results import Setting, Workload
from headway.sim.suite import SizeSpec, TraceSpec
from headway.sim.workload import Material, distinct_runs

PLAYED = ("client/engines.py", "core", "engine", "policy", "predict", "sim", "wire")
"""The packages and modules whose source decides what a cell gives."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A trace on a pool: where cells are played. `asks`: its runs have questions."""

    trace: TraceSpec
    pool: SimPool
    belief: Pool | None
    material: Material
    runs: int
    asks: bool


def by_label(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """One stage of each trace."""
    return tuple({stage.material.label: stage for stage in stages}.values())


def workload_told(stage: Stage, seeds: int) -> Workload:
    """What a trace is made of, in numbers; `seeds` are played."""
    runs = [run for part in stage.material.parts for run in (*part.history, *part.test)]
    calls = [node for run in runs for node in run.nodes if node.prompt_tokens]
    asked = [run for run in runs if run.question is not None and not run.nodes]
    statistics: dict[str, Setting] = {
        "different runs": len(runs),
        "of them played": distinct_runs(stage.material, stage.trace, runs=stage.runs, seeds=seeds),
        "left out": stage.material.left_out,
        "runs of a cell": stage.runs,
        "calls a run": round(len(calls) / (len(runs) - len(asked)), 2) if calls else "1 or more",
    }
    if calls:
        statistics["prompt tokens a call"] = round(sum(n.prompt_tokens for n in calls) / len(calls))
        statistics["output tokens a call"] = round(sum(n.output_tokens for n in calls) / len(calls))
    return Workload(trace=stage.material.label, statistics=statistics, source=stage.material.source)


def notes(stages: Sequence[Stage], size: SizeSpec) -> Iterator[str]:
    """What a reader of the numbers must know."""
    for stage in by_label(stages):
        if stage.material.left_out:
            yield (
                f"{stage.material.label}: {stage.material.left_out} runs are left out: without "
                "labels of all the pool's models, without calls, or with a longer prompt than the "
                "suite's max_prompt_tokens"
            )
    if not size.knee_plays:
        yield (
            "no knee was looked for in this size: load 1 is an estimate of the pool's capacity, "
            "good enough to see every policy play and for no claim"
        )
    above = [f"{load:g}" for load in size.loads if load > 1.0]
    recorded = all(stage.trace.bodies[0].journal for stage in stages)
    if above and not recorded:
        yield (
            f"loads above the knee ({', '.join(above)}): the pool does not keep up, so completion "
            "grows with the number of runs; compare policies there, do not read seconds"
        )


def commit() -> str:
    """The commit of Headway's code; empty outside of a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def code_digest() -> str:
    """A digest of all source that decides a cell: cells of other code are never taken for ours."""
    digest = hashlib.sha256()
    for name, path in played_files(Path(str(resources.files("headway")))):
        digest.update(name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def played_files(root: Path) -> Iterator[tuple[str, Path]]:
    """(name below `root`, path) of every file of `PLAYED`; a report only tells of cells."""
    for played in PLAYED:
        place = root / played
        for path in (place,) if place.is_file() else sorted(place.rglob("*.py")):
            name = path.relative_to(root)
            if "report" not in name.parts:
                yield name.as_posix(), path


def versions() -> dict[str, str]:
    """Of Headway, Python and the libraries that compute."""
    return {
        "headway": __version__,
        "msgspec": msgspec.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def digest_of(parts: Sequence[str]) -> str:
    """One digest of several."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
