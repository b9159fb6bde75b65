"""What the papers print of their systems, beside what comes out here.

A simulation is no reproduction: tasks, models, servers and loads differ (each suite lists its
deviations). But where the order of two policies comes out otherwise than printed, a reader
must be told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from headway.sim.measures import Measures
from headway.sim.report.ranking import main_row, places
from headway.sim.results import Place, Pooled, Results


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A printed claim at one place: `agrees` says whether the sign is the printed one."""

    source: str
    printed: str
    place: Place
    found: str
    agrees: bool


Rows = Mapping[str, Sequence[Measures]]
"""By policy: its default settings first, then those of its sweep."""
Claim = Callable[[Rows], tuple[str, bool] | None]
LOADED = 0.5
"""Papers measure under load: idle cells are not compared."""


def _plain(rows: Rows, policy: str) -> Measures | None:
    return rows[policy][0] if policy in rows else None


def _chimera(rows: Rows) -> tuple[str, bool] | None:
    """The paper leaves tau and delta open: the setting that succeeds most among the faster ones."""
    theirs = _plain(rows, "shuffle-run")
    if theirs is None or not theirs.s_per_token or theirs.success is None:
        return None
    found = [
        (theirs.s_per_token / one.s_per_token, 100 * (one.success - theirs.success))
        for one in rows.get("chimera", ())
        if one.s_per_token and one.success is not None
    ]
    if not found:
        return None
    faster = [each for each in found if each[0] > 1.0] or found
    ratio, points = max(faster, key=lambda each: (each[1], each[0]))
    return f"{ratio:.2f}x, {points:+.1f} points", ratio > 1.0 and points > 0.0


def _hexagent(rows: Rows) -> tuple[str, bool] | None:
    ours = _plain(rows, "hexagent")
    rivals = [one for name in ("workflow-fcfs", "llf", "atlas") if (one := _plain(rows, name))]
    if ours is None or not rivals:
        return None
    changes = []
    for name in ("req95", "req99"):
        mine = getattr(ours, name)
        best = min((each for one in rivals if (each := getattr(one, name))), default=None)
        if mine and best:
            changes.append((name.capitalize(), mine / best - 1.0))
    if not changes:
        return None
    told = ", ".join(f"{name} {100 * change:+.1f} %" for name, change in changes)
    return told, all(change < 0.0 for _, change in changes)


def _maestro(rows: Rows) -> tuple[str, bool] | None:
    ours, theirs = _plain(rows, "maestro"), _plain(rows, "edf")
    if ours is None or theirs is None or ours.attainment is None or theirs.attainment is None:
        return None
    points = 100 * (ours.attainment - theirs.attainment)
    return f"{points:+.1f} points", points > 0.0


def _maestro_kv(rows: Rows) -> tuple[str, bool] | None:
    ours = _plain(rows, "maestro")
    if ours is None or ours.kv_output_saved is None:
        return None
    overflow = 100 * (ours.kv_overflow or 0.0)
    told = f"{-100 * ours.kv_output_saved:+.1f} % (overflow {overflow:.1f} % of calls)"
    return told, ours.kv_output_saved > 0.0


CLAIMS: dict[str, tuple[tuple[str, str, Claim], ...]] = {
    "chimera": (
        (
            "Chimera, arXiv 2603.22206",
            "1.2 to 3.4x less latency per output token and +1.6 to +16.0 points of success than "
            "vLLM with requests spread over the models",
            _chimera,
        ),
    ),
    "hexagent": (
        (
            "HexAGenT, arXiv 2605.16637",
            "Req95 -13.0 %, Req99 -24.5 % against the best of workflow-FCFS, LLF and ATLAS on "
            "heterogeneous pools",
            _hexagent,
        ),
    ),
    "maestro": (
        (
            "Maestro, arXiv 2606.12950",
            "+23.6 points of deadlines kept than EDF at high contention",
            _maestro,
        ),
        (
            "Maestro, arXiv 2606.12950",
            "-67.2 % KV reserved against reserving the most (here: the output part)",
            _maestro_kv,
        ),
    ),
}
"""By suite: source, what it prints, how it is read here."""


def compared(results: Results) -> tuple[Compared, ...]:
    """Every printed claim of the suite at every loaded place that has the policies it is about."""
    found = []
    for source, printed, claim in CLAIMS.get(results.suite, ()):
        for place, rows in places(results):
            if place.load < LOADED or place.belief_error:
                continue
            told = claim(_by_policy(rows))
            if told is not None:
                text, agrees = told
                found.append(
                    Compared(source=source, printed=printed, place=place, found=text, agrees=agrees)
                )
    return tuple(found)


def _by_policy(rows: Iterable[Pooled]) -> dict[str, list[Measures]]:
    listed = tuple(rows)
    found: dict[str, list[Measures]] = {}
    for name in dict.fromkeys(row.policy for row in listed):
        main = main_row(listed, name)
        others = [row for row in listed if row.policy == name and row is not main]
        found[name] = [row.measures for row in (main, *others) if row is not None]
    return found
