"""The runner on a stand-in for the world: what is played and kept, and what failures become."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway.core.errors import ConfigError, HeadwayError
from headway.sim.outcomes import CallOutcome, CellOutcome, EndpointOutcome, RunOutcome
from headway.sim.results import Results
from headway.sim.runner import KNEES_NAME, Options, run_suite
from headway.sim.strict import parse_strict
from headway.sim.suite import Suite, checked
from headway.sim.world import Planned

SUITE = """\
name: small
about: a test
knee_policy: fcfs
pools:
  - name: one
    reference: qwen2.5-7b
    sites: [{preset: qwen2.5-7b@a100, seats: 4}]
traces:
  - name: single
    pools: [one]
    bodies: [{family: single, bodies: 20}]
policies: [fcfs, headway]
deviations: [made up]
sizes:
  quick: {seeds: 1, runs: 10, loads: [0.8], knee_plays: 0}
  default: {seeds: 2, runs: 20, loads: [0, 1.0], belief_errors: [0, 0.2], knee_runs: 40}
  full: {}
"""


def fake_play(planned: Sequence[Planned], **given: Any) -> CellOutcome:
    """Completion is stand-alone time x (1 + 2 rate/10): three times the idle one at 10 runs/s.

    Headway takes half of it; nothing is learned or believed.
    """
    span_s = planned[-1].arrival_s - planned[0].arrival_s
    rate = (len(planned) - 1) / span_s if span_s else 0.0
    factor = (1 + 2 * rate / 10) * (0.5 if given["policy"].name == "headway" else 1.0)
    runs = tuple(_run(one, factor) for one in planned)
    site = given["pool"].sites[0]
    served = EndpointOutcome(
        id=site.id,
        model=site.model,
        busy_s=1.0,
        calls=len(runs),
        prompt_tokens=1,
        hit_tokens=0,
        output_tokens=1,
    )
    return CellOutcome(runs=runs, endpoints=(served,), span_s=max(r.ended_s or 0 for r in runs))


def _run(one: Planned, factor: float) -> RunOutcome:
    ends = one.arrival_s + one.alone_s * factor
    call = CallOutcome(
        run=one.id,
        node="n",
        endpoint="e",
        model="m",
        ready_s=one.arrival_s,
        released_s=one.arrival_s,
        first_token_s=one.arrival_s,
        ended_s=ends,
        prompt_tokens=10,
        hit_tokens=0,
        output_tokens=10,
        reference_tokens=10,
        reserved_tokens=10,
        max_tokens=100,
    )
    return RunOutcome(
        id=one.id,
        graph="g",
        arrived_s=one.arrival_s,
        ended_s=ends,
        alone_s=one.alone_s,
        deadline_s=one.deadline_s,
        calls=(call,),
    )


def fake_rehearse(history: Sequence[Any], **_: Any) -> dict[str, object]:
    return {"runs": len(history)}


class Told:
    """A `Watch` that remembers."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.said: list[str] = []
        self.calls = 0

    def begin(self, what: str, total: int) -> None:
        self.stages.append((what, total))

    def advance(self, calls: int) -> None:
        self.calls += calls

    def say(self, text: str) -> None:
        self.said.append(text)


def small(old: str = "", new: str = "") -> Suite:
    text = SUITE.replace(old, new) if old else SUITE
    return checked(parse_strict(text, Suite, "s.yaml"), "s.yaml")


def options(out: Path, **changes: Any) -> Options:
    given: dict[str, Any] = {"out": out, "play": fake_play, "rehearse": fake_rehearse}
    return Options(**{**given, **changes})


def numbers(results: Results) -> bytes:
    """All that must not depend on who computed it: planner times are wall times."""
    rows = [msgspec.structs.asdict(row) for row in results.cells]
    for row in rows:
        row["measures"] = msgspec.structs.replace(
            row["measures"], planner_ms=None, planner_p99_ms=None
        )
    return msgspec.json.encode([rows, results.knees, results.comparisons])


def test_knees_come_first_and_every_cell_is_played(tmp_path: Path) -> None:
    told = Told()
    results = run_suite(small(), options(tmp_path), told)
    # 2 policies x 2 seeds x (2 loads, and 1 load with wrong profiles)
    assert [stage[0] for stage in told.stages][:2] == ["looking for knees", "playing"]
    assert told.stages[1][1] == len(results.cells) == 12
    assert told.calls == sum(row.runs for row in results.cells)
    knee = results.knees[0]
    assert (knee.policy, knee.pool, knee.trace) == ("fcfs", "one", "single (synthetic)")
    assert knee.rate == pytest.approx(10.0, rel=0.25)  # the drawn rate is only near the asked one
    loaded = [row for row in results.cells if row.load == 1.0 and row.policy == "fcfs"]
    assert {row.rate for row in loaded} == {knee.rate}
    assert {(row.belief_error, row.load) for row in results.cells} == {
        (0.0, 0.0),
        (0.0, 1.0),
        (0.2, 1.0),
    }
    assert results.notes[0] == "made up"
    assert results.seeds == (1, 2)
    assert results.examples[0].policies == ("fcfs", "headway")
    assert results.examples[0].runs[0].id == results.examples[0].runs[1].id


def test_headway_is_compared_with_every_baseline_run_by_run(tmp_path: Path) -> None:
    results = run_suite(small(), options(tmp_path), Told())
    at_knee = [
        one
        for one in results.comparisons
        if (one.load, one.measure, one.belief_error) == (1.0, "mean_s", 0.0)
    ]
    assert [(one.policy, one.baseline) for one in at_knee] == [("headway", "fcfs")]
    assert at_knee[0].ratio == pytest.approx(0.5)
    assert at_knee[0].seeds == 2


def test_what_is_finished_is_not_played_again(tmp_path: Path) -> None:
    left = [5]

    def dies(planned: Sequence[Planned], **given: Any) -> CellOutcome:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return fake_play(planned, **given)

    quick = {"size": "quick", "seeds": 4}
    with pytest.raises(KeyboardInterrupt):
        run_suite(small(), options(tmp_path, play=dies, **quick), Told())
    told = Told()
    resumed = run_suite(small(), options(tmp_path, **quick), told)
    assert told.said == ["5 of 8 cells are finished already"]
    assert told.stages[0] == ("playing", 3)
    whole = run_suite(small(), options(tmp_path / "other", **quick), Told())
    assert numbers(resumed) == numbers(whole)
    again = Told()
    run_suite(small(), options(tmp_path, fresh=True, **quick), again)
    assert again.stages[0] == ("playing", 8)


def test_a_knee_is_kept_and_a_cut_line_is_forgotten(tmp_path: Path) -> None:
    run_suite(small(), options(tmp_path), Told())
    path = tmp_path / KNEES_NAME
    again = Told()
    run_suite(small(), options(tmp_path), again)
    assert again.stages == [("playing one run for the chart", 1)]
    path.write_bytes(path.read_bytes()[:-20])
    cut = Told()
    run_suite(small(), options(tmp_path), cut)
    assert cut.stages[0] == ("looking for knees", 1)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([b"nonsense", lines[-1]]) + b"\n")
    with pytest.raises(ConfigError, match=r"knees\.jsonl:1: not a knee"):
        run_suite(small(), options(tmp_path), Told())


def test_a_failing_cell_fails_loudly_and_says_which(tmp_path: Path) -> None:
    def breaks(planned: Sequence[Planned], **given: Any) -> CellOutcome:
        raise ZeroDivisionError("by zero")

    with pytest.raises(
        HeadwayError,
        match=r"ZeroDivisionError: by zero.*single on one, policy fcfs, load 0.8.*seed",
    ):
        run_suite(small(), options(tmp_path, size="quick", play=breaks), Told())


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    one = run_suite(small(), options(tmp_path / "1", size="quick"), Told())
    two = run_suite(small(), options(tmp_path / "2", size="quick", workers=2), Told())
    assert numbers(one) == numbers(two)


def test_loads_seeds_runs_and_policies_can_be_chosen(tmp_path: Path) -> None:
    chosen = options(
        tmp_path, size="quick", loads=(0.0, 0.5), seeds=3, runs=12, policies=("least-busy",)
    )
    results = run_suite(small(), chosen, Told())
    assert {row.load for row in results.cells} == {0.0, 0.5}
    assert {row.seed for row in results.cells} == {1, 2, 3}
    assert {row.policy for row in results.cells} == {"least-busy"}
    with pytest.raises(ConfigError, match="--load: load 9 is far beyond capacity"):
        run_suite(small(), options(tmp_path, loads=(9.0,)), Told())
    assert any("no knee was looked for" in note for note in results.notes)


def test_a_chosen_load_is_that_of_wrong_profiles_too(tmp_path: Path) -> None:
    results = run_suite(small(), options(tmp_path, loads=(0.5,)), Told())
    assert {(row.belief_error, row.load) for row in results.cells} == {(0.0, 0.5), (0.2, 0.5)}
    idle = run_suite(small(), options(tmp_path, loads=(0.0,)), Told())
    assert {(row.load, row.rate) for row in idle.cells} == {(0.0, None)}


def test_idle_cells_beside_loaded_ones_with_wrong_profiles_have_a_knee(tmp_path: Path) -> None:
    suite = small("loads: [0, 1.0], belief", "loads: [0], error_loads: [1.0], belief")
    results = run_suite(suite, options(tmp_path), Told())
    rates = {row.rate for row in results.cells if row.load == 1.0}
    assert rates == {results.knees[0].rate} and None not in rates


def test_a_load_without_a_rate_is_never_played(tmp_path: Path) -> None:
    run_suite(small(), options(tmp_path), Told())
    path = tmp_path / KNEES_NAME
    line = msgspec.json.decode(path.read_bytes())
    line["knee"]["rate"] = 0.0
    path.write_bytes(msgspec.json.encode(line) + b"\n")
    with pytest.raises(ConfigError, match=r"single.*on one: load 1 has no rate"):
        run_suite(small(), options(tmp_path), Told())


def test_a_knee_that_was_looked_for_with_other_plays_is_another(tmp_path: Path) -> None:
    run_suite(small(), options(tmp_path), Told())
    again = Told()
    run_suite(small("knee_runs: 40", "knee_runs: 40, knee_plays: 13"), options(tmp_path), again)
    assert again.stages[0] == ("looking for knees", 1)


def test_a_knee_next_to_a_rate_at_which_runs_fail_is_kept(tmp_path: Path) -> None:
    def overrun(planned: Sequence[Planned], **given: Any) -> CellOutcome:
        made = fake_play(planned, **given)
        span_s = planned[-1].arrival_s - planned[0].arrival_s
        if span_s and (len(planned) - 1) / span_s < 9.0:
            return made
        lost = tuple(msgspec.structs.replace(run, ended_s=None) for run in made.runs)
        return msgspec.structs.replace(made, runs=lost) if span_s else made

    run_suite(small(), options(tmp_path, play=overrun), Told())
    again = Told()
    run_suite(small(), options(tmp_path, play=overrun), again)
    assert "looking for knees" not in [stage for stage, _ in again.stages]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[fcfs, headway]", "[fcfs, hedway]", "suite small: policies: no policy 'hedway'; did you"),
        ("[fcfs, headway]", "[{id: fcfs, params: {tau: 1}}]", "suite small: policies: policy 'fcf"),
        ("knee_policy: fcfs", "knee_policy: fcsf", "suite small: knee_policy: no policy 'fcsf'"),
    ],
)
def test_an_unknown_policy_or_knob_of_a_suite_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        run_suite(small(old, new), options(tmp_path), Told())
    assert str(error.value).startswith(told)
