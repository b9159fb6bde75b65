"""What papers print beside what came out, on rows made for it."""

import msgspec

from headway.sim.report.papers import CLAIMS, compared
from headway.sim.results import Results
from headway.sim.suite import SUITES, load_suite
from tests.support.made_results import made_results


def of_suite(suite: str, names: dict[str, dict[str, float]], load: float = 1.0) -> Results:
    made = made_results()
    first = next(row for row in made.pooled if not row.settings)
    rows = tuple(
        msgspec.structs.replace(
            first,
            policy=name,
            load=load,
            belief_error=0.0,
            measures=msgspec.structs.replace(first.measures, **measures),
        )
        for name, measures in names.items()
    )
    return msgspec.structs.replace(made, suite=suite, pooled=rows)


def test_chimera_against_requests_spread_over_the_models() -> None:
    rows = {
        "chimera": {"s_per_token": 0.02, "success": 0.70},
        "shuffle-run": {"s_per_token": 0.05, "success": 0.62},
    }
    (one,) = compared(of_suite("chimera", rows))
    assert (one.found, one.agrees) == ("2.50x, +8.0 points", True)
    rows["chimera"]["success"] = 0.6
    (one,) = compared(of_suite("chimera", rows))
    assert not one.agrees


def test_hexagent_against_the_best_of_three() -> None:
    rows = {
        "hexagent": {"req95": 4.0, "req99": 6.0},
        "llf": {"req95": 5.0, "req99": 9.0},
        "atlas": {"req95": 8.0, "req99": 7.5},
    }
    (one,) = compared(of_suite("hexagent", rows))
    assert (one.found, one.agrees) == ("Req95 -20.0 %, Req99 -20.0 %", True)


def test_idle_places_and_missing_policies_are_not_compared() -> None:
    rows = {"maestro": {"attainment": 0.9, "kv_output_saved": 0.5}, "edf": {"attainment": 0.8}}
    assert compared(of_suite("maestro", rows))[0].found == "+10.0 points"
    assert compared(of_suite("maestro", rows, load=0.0)) == ()
    assert compared(of_suite("hexagent", rows)) == ()


def test_claims_are_about_suites_that_play_them() -> None:
    assert set(CLAIMS) <= set(SUITES)
    played = {name: {spec.id for spec in load_suite(name)[0].policy_specs()} for name in CLAIMS}
    assert {"chimera", "shuffle-run"} <= played["chimera"]
    assert {"hexagent", "workflow-fcfs", "llf", "atlas"} <= played["hexagent"]
    assert {"maestro", "edf"} <= played["maestro"]
