"""Puts the numbers of a run into a page: ``python -m tests.validity.page NUMBERS.json PAGE``.

Between the lines ``<!-- validity: ... -->`` and ``<!-- validity end -->``; nothing there is typed.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

MARKS = re.compile(r"(<!-- validity: [^\n]*-->\n).*?(<!-- validity end -->)", re.DOTALL)


def markdown(said: dict[str, Any]) -> str:
    """A row a policy, and what the run was."""
    sizes, pairs = said["sizes"], said["pairs"]
    lines = [
        "| policy | mean, live / virtual | low to high | P95 | low to high | lateness |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in said["verdicts"]:
        late = max(pair["lateness"] for pair in pairs if pair["policy"] == one["policy"])
        (low, high), (low95, high95) = one["mean_spread"], one["p95_spread"]
        lines.append(
            f"| `{one['policy']}` | {one['mean']:.3f} | {low:.2f} to {high:.2f} "
            f"| {one['p95']:.3f} | {low95:.2f} to {high95:.2f} "
            f"| {late:.1%} {'green' if one['green'] else 'RED'} |"
        )
    charges = [1000 * (pair["decision_s"] + pair["transport_s"]) for pair in pairs]
    speeds = sorted({pair["speedup"] for pair in pairs})
    lines += [
        "",
        f"Medians of {len(sizes['seeds'])} plays of {sizes['runs']} runs at {sizes['load']:g} of "
        f"capacity, {' and '.join(f'{each:g}x' for each in speeds)} real time; "
        f"{min(charges):.0f} to {max(charges):.0f} emulated ms a call are charged for decision and "
        f"HTTP in virtual time, as measured live. They agree within {said['within']:.0%}: "
        f"{'yes' if said['agree'] else 'NO'}.",
    ]
    return "\n".join(lines)


def put_into(page: str, said: dict[str, Any]) -> str:
    """The page with its part made anew. Raises `ValueError` if it has no place for it."""
    if not MARKS.search(page):
        raise ValueError("the page has no lines `<!-- validity: ... -->` and its end")
    return MARKS.sub(lambda found: f"{found[1]}\n{markdown(said)}\n\n{found[2]}", page)


def main() -> None:
    """The command line."""
    numbers, page = Path(sys.argv[1]), Path(sys.argv[2])
    page.write_text(put_into(page.read_text(), json.loads(numbers.read_text())))


if __name__ == "__main__":
    main()
