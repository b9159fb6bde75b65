"""What ``import headway_langgraph`` adds to ``import langgraph.graph``, in fresh processes."""

import subprocess
import sys
from collections.abc import Callable

from tests.bench.measure import Result, in_turns, overhead

GOAL = 0.05
TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(modules: str) -> float:
    """How long a fresh process takes to import `modules`, from its first import on."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(modules)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def measure(*, pairs: int, step: Callable[[], None]) -> list[Result]:
    """`import_headway_langgraph`: milliseconds on top. The first pair warms the disk."""
    bare: list[float] = []
    with_it: list[float] = []
    for number, turn in enumerate(in_turns(pairs + 1)):
        for scheduled in turn:
            modules = "langgraph.graph, headway_langgraph" if scheduled else "langgraph.graph"
            spent_ms = seconds(modules) * 1e3
            if number:
                (with_it if scheduled else bare).append(spent_ms)
        if number:
            step()
    name, beside = "import_headway_langgraph", "import_langgraph_graph"
    return [overhead(name, bare, with_it, unit="ms", ratio_to=beside, goal=GOAL)]
