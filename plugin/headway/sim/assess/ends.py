"""What ``headway assess`` found of what is left of runs: judged over splits, and told."""

from collections.abc import Callable

from rich.console import Console

from headway.sim.assess.horizons import HORIZON_FORECASTERS, HorizonScores, judge_horizon
from headway.sim.assess.sets import JudgedSet, KnownRun, KnownSet, over_splits
from headway.sim.assess.tables import terminal_table

HORIZON_COLUMNS: dict[str, tuple[str, str]] = {
    "mae": ("MAE", ".1f"),
    "at_start": ("at the start", ".1f"),
    "at_25": ("after 25 %", ".1f"),
    "at_50": ("50 %", ".1f"),
    "at_75": ("75 %", ".1f"),
    "pinball_50": ("pinball P50", ".2f"),
    "pinball_90": ("pinball P90", ".2f"),
    "covered": ("within P90", ".3f"),
    "width": ("P90 - P50", ".1f"),
    "forecast_us": ("us, P99", ".0f"),
}


class AssessedHorizon(JudgedSet[HorizonScores], frozen=True, kw_only=True):
    """What is left of the runs of one set, in `quantity`."""

    quantity: str
    runs: int
    calls: int

    @property
    def heading(self) -> str:
        """Of its table."""
        return f"{self.set_name}: {self.quantity} left"

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.runs} runs, {self.calls} calls"


def forecasts(splits: int) -> int:
    """How often `assess_horizon` advances on one set."""
    return splits * sum(len(each) for each in HORIZON_FORECASTERS.values())


def assess_horizon(
    known: KnownSet, splits: int, *, clock: Callable[[], float], advance: Callable[[str], None]
) -> tuple[AssessedHorizon, ...]:
    """Every predictor on every split, a result for each quantity; `advance` is told of each."""
    found = []
    for quantity, forecasters in HORIZON_FORECASTERS.items():

        def judged(
            name: str,
            train: list[KnownRun],
            test: list[KnownRun],
            *,
            quantity: str = quantity,
        ) -> HorizonScores:
            make = HORIZON_FORECASTERS[quantity][name]
            return judge_horizon(quantity, make, train, test, clock=clock)

        found.append(
            AssessedHorizon(
                set_name=known.name,
                quantity=quantity,
                source=known.source,
                runs=len(known.runs),
                calls=sum(len(run.calls) for run in known.runs),
                scores=over_splits(known, splits, forecasters, judged, advance),
            )
        )
    return tuple(found)


def show_horizon(console: Console, found: AssessedHorizon) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: {found.quantity} left, {found.runs} runs, {found.calls} calls"
    console.print(terminal_table(title, HORIZON_COLUMNS, found.scores))
