"""Which run the demo explains at its end: one whose failure changed the choice."""

import json

from headway_samples.demo.measures import RunRecord
from headway_samples.demo.story import LOOKED_AT, candidates, choose, escalates
from headway_samples.pool import LARGE, MIDDLE, SMALL


def _run(number: int, *, sample: str = "code_generation", attempts: int = 2, solved: bool = True):
    return RunRecord(
        number=number,
        sample=sample,
        completion_s=1.0,
        solved=solved,
        deadline_s=1.0,
        attempts=attempts,
    )


def _story(*models: str) -> str:
    return json.dumps({"calls": [{"model": model} for model in models]})


def test_candidates_failed_first_were_solved_and_are_short() -> None:
    runs = [
        _run(1),
        _run(2, attempts=1),
        _run(3, attempts=4),
        _run(4, solved=False),
        _run(5, sample="support_chat"),
        _run(6, attempts=3),
    ]
    assert candidates(runs) == [6, 1]
    assert len(candidates([_run(number) for number in range(50)])) == LOOKED_AT


def test_escalation_is_a_larger_model_at_the_end() -> None:
    assert escalates(json.loads(_story(SMALL, LARGE)))
    assert escalates(json.loads(_story(SMALL, MIDDLE, SMALL, LARGE)))
    assert not escalates(json.loads(_story(LARGE, SMALL)))
    assert not escalates(json.loads(_story(SMALL, SMALL)))
    assert not escalates(json.loads(_story(SMALL)))
    assert not escalates({})


async def test_the_latest_run_that_escalates_is_chosen() -> None:
    told = {9: "not known here", 7: _story(LARGE, LARGE), 5: _story(SMALL, LARGE)}

    async def explained(number: int) -> str:
        return told[number]

    assert await choose([_run(5), _run(7), _run(9)], explained) == 5
    assert await choose([_run(7), _run(9)], explained) == 9
    assert await choose([_run(7, attempts=1)], explained) is None
