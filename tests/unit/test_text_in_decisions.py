"""What prompts say, from a call that tells it to the chance that decides about the next one."""

from headway.core.facts import Feedback
from headway.core.prompts import features
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
