"""Plays both worlds, shows how far apart they are, and writes it down.

The exit status is 0 only if the emulator kept up and mean and P95 agree under every policy;
with ``--quick`` it says only whether it could be measured.
"""

import argparse
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.validity.compare import (
    MOST_LATENESS,
    QUICK,
    WITHIN,
    Pair,
    Sizes,
    Verdict,
    compare,
    verdicts,
)


def line(pair: Pair) -> str:
    """What one pair came to."""
    return (
        f"{pair.policy} seed {pair.seed} at {pair.speedup:g}x: "
        f"mean {pair.live.mean_s:.1f} s live, {pair.virtual.mean_s:.1f} s virtual; "
        f"P95 {pair.live.p95_s:.1f} and {pair.virtual.p95_s:.1f} s "
        f"(virtual P95 flutters by {pair.flutter:.0%}); "
        f"charged {1000 * pair.decision_s:.0f} + {1000 * pair.transport_s:.0f} ms a call; "
        f"late {pair.lateness:.1%} {'green' if pair.green else 'RED'}; CPU {pair.cpu:.0%}"
    )


def table(pairs: Sequence[Pair], found: Sequence[Verdict]) -> Table:
    """One row a policy."""
    shown = Table(title="live / virtual (median of the repetitions; lowest to highest)")
    for column in ("policy", "mean", "", "P95", "", "without charges", "lateness P95", "agree"):
        shown.add_column(column, justify="left" if column == "policy" else "right")
    for one in found:
        own = [pair for pair in pairs if pair.policy == one.policy]
        bare = statistics.median(pair.live.mean_s / pair.uncharged.mean_s for pair in own)
        bare_p95 = statistics.median(pair.live.p95_s / pair.uncharged.p95_s for pair in own)
        shown.add_row(
            one.policy,
            f"{one.mean:.3f}",
            f"{one.mean_spread[0]:.2f} to {one.mean_spread[1]:.2f}",
            f"{one.p95:.3f}",
            f"{one.p95_spread[0]:.2f} to {one.p95_spread[1]:.2f}",
            f"{bare:.3f} / {bare_p95:.3f}",
            f"{max(pair.lateness for pair in own):.1%} {'green' if one.green else 'RED'}",
            "yes" if one.agrees() else "NO",
        )
    return shown


def told(sizes: Sizes, pairs: Sequence[Pair], found: Sequence[Verdict]) -> bytes:
    """The content of the JSON file."""
    said = {
        "within": WITHIN,
        "most_lateness": MOST_LATENESS,
        "valid": all(one.green for one in found),
        "agree": all(one.agrees() for one in found),
        "sizes": sizes,
        "verdicts": found,
        "pairs": pairs,
    }
    return msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.validity", description=__doc__)
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--quick", action="store_true", help="few runs: only shows that it runs")
    arguments = parser.parse_args()
    # told to stop, it takes its processes with it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = QUICK if arguments.quick else Sizes()
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    pairs = compare(sizes, lambda pair: console.print(line(pair)))
    found = verdicts(pairs)
    if arguments.json is not None:
        arguments.json.write_bytes(told(sizes, pairs, found))
    console.print(table(pairs, found))
    if not all(one.green for one in found):
        console.print("RED: the emulator could not keep up, these numbers mean little")
    agreed = all(one.green and one.agrees() for one in found)
    sys.exit(0 if agreed or arguments.quick else 1)


if __name__ == "__main__":
    main()
