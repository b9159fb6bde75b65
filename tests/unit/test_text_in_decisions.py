"""What requests say, from a call that tells it to the forecasts that decide about the next one."""

from typing import Any

from headway.core.facts import Feedback
from headway.core.prompts import features, shapes_of
from headway.core.protocols import Estimate
from headway.core.types import RunId
from tests.support.telling import Teller, endpoint, pool

EASY, HARD = (features(text) for text in ("name a colour of the sky", "prove this deep theorem"))


def chance(told: Teller, call: str, words: tuple[int, ...]) -> float:
    told.ready(call, run=call, features=words)
    view = told.scheduler.view(told.now)
    return view.chance(told.call(call), "small", ())


def test_judged_answers_teach_what_prompts_can_be_answered() -> None:
    told = Teller(pool(endpoint("a", seats=400), quality={"small": 0.5}))
    before = chance(told, "first", EASY), chance(told, "second", HARD)
    assert before[0] == before[1]
    for number in range(400):
        call, easy = f"c{number}", number % 2 == 0
        told.ready(call, run=call, features=EASY if easy else HARD)
        told.ended(call)
        told.tell(Feedback(run=RunId(call), ok=easy))
        told.run_ended(call)
    assert chance(told, "easy", EASY) > 0.8 > 0.2 > chance(told, "hard", HARD)
    untold = chance(told, "untold", ())
    assert 0.3 < untold < 0.7


def foreseen(told: Teller, run: str, **fields: Any) -> Estimate:
    """Of the second call of a run whose first answer called as many tools as is said."""
    begin(told, run, fields.pop("tool_calls", 0))
    told.ready(f"{run}-2", run=run, node=f"{run}-n2", node_name="write", step=2, **fields)
    return told.scheduler.view(told.now).output(told.call(f"{run}-2"), "small")


def begin(told: Teller, run: str, tool_calls: int) -> None:
    told.run_started(run)
    for step, name in enumerate(("plan", "write"), start=1):
        told.node_started(f"{run}-n{step}", name, run=run, step=step)
        if step == 1:
            told.ready(f"{run}-1", run=run, node=f"{run}-n1", node_name=name, step=1)
            told.ended(f"{run}-1", tool_calls=tool_calls)
            told.node_ended(f"{run}-n1", run=run)


def test_what_a_request_asks_for_and_the_tools_before_it_teach_how_long_it_is() -> None:
    told = Teller(pool(endpoint("a", "small", seats=400)))
    kinds: tuple[dict[str, Any], ...] = (
        {"needs": ("response_format",), "tool_calls": 0, "max_tokens": 64},
        {"needs": ("tools",), "tool_calls": 3, "features": HARD},
    )
    for number in range(200):
        kind, run = kinds[number % 2], f"r{number}"
        foreseen(told, run, **kind)
        told.ended(f"{run}-2", output_tokens=900 if number % 2 else 30)
        lessons = [one for one in told.scheduler.lessons if one.about == "output_tokens"]
        told.node_ended(f"{run}-n2", run=run)
        told.run_ended(run)
    short, long = (foreseen(told, f"new{place}", **kind) for place, kind in enumerate(kinds))
    assert short.p90 < 64 and 600 < long.p50 < 1200
    query = lessons[-1].query
    assert query.needs == ("tools",) and query.past is not None and query.past.tool_calls == 3
    assert query.features == shapes_of(HARD)  # what can be counted of the text, not its words
