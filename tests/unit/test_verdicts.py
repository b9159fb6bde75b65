"""What a run's course says about its answers: courses made by hand, judgements counted."""

from typing import Any

import pytest

from headway.core.facts import GraphSeen
from tests.support.telling import Teller, endpoint, pool

Counts = dict[tuple[str, str], tuple[float, float]]

REPAIRING = (
    ("write", "run_tests", "edge"),
    ("run_tests", "repair", "branch"),
    ("run_tests", "__end__", "branch"),
    ("repair", "run_tests", "edge"),
)
CHECKING = (
    ("writer", "check", "edge"),
    ("check", "writer", "branch"),
    ("check", "__end__", "branch"),
)
AGENT = (("agent", "tools", "branch"), ("tools", "agent", "edge"), ("agent", "__end__", "branch"))


class Course:
    """A run told node by node; names in capitals make a call."""

    def __init__(self, edges: tuple[tuple[str, str, str], ...]) -> None:
        self.told = Teller(pool(endpoint("a", seats=20)))
        nodes = tuple(dict.fromkeys(name for edge in edges for name in edge[:2]))
        if edges:
            self.told.tell(GraphSeen(graph="g", nodes=nodes, edges=edges))
        self.run = ""
        self.runs = 0

    def start(self, **fields: Any) -> None:
        self.runs += 1
        self.run = f"r{self.runs}"
        self.step, self.before, self.visits = 0, (), {}  # type: ignore[var-annotated]
        self.told.run_started(self.run, **fields)

    def nodes(self, *names: str, outcome: str = "ok", tool_calls: int = 0) -> None:
        """One step: its nodes side by side."""
        self.step += 1
        ids = []
        for name in dict.fromkeys(names):
            self.visits[name.lower()] = self.visits.get(name.lower(), 0) + 1
        for place, name in enumerate(names):
            node = f"{self.run}.{self.step}.{place}"
            ids.append(node)
            place_of: dict[str, Any] = {
                "parents": self.before,
                "visit": self.visits[name.lower()],
                "step": self.step,
                "run": self.run,
            }
            self.told.now += 1.0
            self.told.node_started(node, name.lower(), **place_of)
            if name.isupper():
                self.told.ready(f"c-{node}", node=node, node_name=name.lower(), **place_of)
        for name, node in zip(names, ids, strict=True):
            self.told.now += 1.0
            if name.isupper():
                self.told.ended(f"c-{node}", tool_calls=tool_calls)
            self.told.node_ended(node, outcome, run=self.run)
        self.before = tuple(ids)

    def end(self, outcome: str = "ok") -> None:
        self.told.run_ended(self.run, outcome)

    def judged(self, source: str) -> Counts:
        """(node, model) -> (good, bad) as told by `source`."""
        counts = self.told.scheduler.snapshot()["foresight"]["confidence"]["counts"]
        return {
            (node, model): tuple(pair) for (by, _graph, node, model), pair in counts if by == source
        }

    @property
    def failed(self) -> tuple[str, ...]:
        run = self.told.scheduler.books.run(self.run)  # type: ignore[arg-type]
        assert run is not None
        return run.failed_models


def code(course: Course, answers: int) -> None:
    """write -> run_tests <-> repair with so many answers in all."""
    course.start()
    course.nodes("WRITE")
    course.nodes("run_tests")
    for _ in range(answers - 1):
        course.nodes("REPAIR")
        course.nodes("run_tests")


@pytest.mark.parametrize(
    ("answers", "write", "repair"),
    [
        (1, (1.0, 0.0), None),
        (2, (0.0, 1.0), (1.0, 0.0)),
        (3, (0.0, 1.0), (1.0, 1.0)),
        (4, (0.0, 1.0), (1.0, 2.0)),
    ],
)
def test_tests_judge_the_answers_before_them(
    answers: int, write: tuple[float, float], repair: tuple[float, float] | None
) -> None:
    course = Course(REPAIRING)
    course.told.scheduler.books.topology("g").most_visits["run_tests"] = 5
    code(course, answers)
    assert course.failed == ("small",) * (answers - 1)
    course.end()
    judged = course.judged("loop")
    assert judged[("write", "small")] == write
    assert judged.get(("repair", "small")) == repair


def test_the_last_round_ever_seen_is_not_counted_as_a_success() -> None:
    course = Course(REPAIRING)
    code(course, 3)
    course.end()
    assert course.judged("loop") == {("write", "small"): (0, 1), ("repair", "small"): (0, 1)}
    code(course, 3)
    course.end()
    assert course.judged("loop") == {("write", "small"): (0, 2), ("repair", "small"): (0, 2)}
    code(course, 2)
    course.end()
    assert course.judged("loop") == {("write", "small"): (0, 3), ("repair", "small"): (1, 2)}


def test_a_run_that_failed_tells_no_success() -> None:
    course = Course(REPAIRING)
    code(course, 1)
    course.end("error")
    assert course.judged("loop") == {}


def test_a_writer_that_is_asked_again_had_failed() -> None:
    course = Course(CHECKING)
    course.told.scheduler.books.topology("g").most_visits["writer"] = 4
    course.start()
    for _ in range(2):
        course.nodes("WRITER")
        course.nodes("CHECK")
    course.end()
    assert course.judged("loop") == {("writer", "small"): (1, 1)}


def test_a_tool_loop_shows_no_failure() -> None:
    course = Course(AGENT)
    course.start()
    for _ in range(3):
        course.nodes("AGENT", tool_calls=1)
        course.nodes("tools")
    course.nodes("AGENT")
    assert course.failed == ()
    course.end()
    bad = [bad for _, bad in course.judged("loop").values()]
    assert not any(bad)


def test_a_persons_answer_shows_no_failure() -> None:
    course = Course((("answer", "human", "edge"), ("human", "answer", "edge")))
    course.start(thread="t")
    course.nodes("ANSWER")
    course.nodes("human", outcome="interrupted")
    course.end("interrupted")
    course.told.run_started(course.run, thread="t", resumed=True)
    course.nodes("human")
    course.nodes("ANSWER")
    assert course.failed == ()
    course.end()
    assert not any(bad for _, bad in course.judged("loop").values())


def test_a_fan_out_shows_no_failure() -> None:
    course = Course((("plan", "researcher", "edge"), ("researcher", "join", "edge")))
    course.start()
    course.nodes("PLAN")
    course.nodes("RESEARCHER", "RESEARCHER", "RESEARCHER")
    course.nodes("join")
    course.end()
    assert course.judged("loop") == {}
    assert course.judged("node")[("researcher", "small")] == (3, 0)


def test_a_node_that_fails_after_its_answer_had_no_use_for_it() -> None:
    course = Course(())
    course.start()
    course.nodes("PARSE", outcome="error")
    course.nodes("PARSE")
    course.end()
    assert course.judged("node") == {("parse", "small"): (1, 1)}


def test_a_node_that_was_cancelled_says_nothing() -> None:
    course = Course(())
    course.start()
    course.nodes("PARSE", outcome="cancelled")
    assert course.judged("node") == {}


def test_rounds_left_come_from_what_was_seen() -> None:
    course = Course(REPAIRING)
    code(course, 1)
    course.nodes("REPAIR")
    course.told.ready("probe", run=course.run, node="x", node_name="repair", visit=2)
    view = course.told.scheduler.view(course.told.now)
    probe = course.told.call("probe")
    assert probe is not None
    assert view.rounds_left(probe) == 0  # two rounds are assumed before more were seen
    view.topologies["g"].most_visits["run_tests"] = 4
    assert view.rounds_left(probe) == 2
