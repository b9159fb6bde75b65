"""The code sample: its tasks, its sandbox (real subprocesses), its graph."""

import asyncio

import pytest
from langchain_core.messages import AIMessage

from headway_samples.code_generation.graph import ATTEMPTS, SAMPLE, code_of
from headway_samples.code_generation.sandbox import run_tests
from headway_samples.code_generation.tasks import FAMILIES, tasks
from tests.support.direct_chat import GENIUS, NOVICE, drive, graph_with

CHECKED_BY_HAND = {
    "clamped_sum": ("clamped_sum([-100, 2, 3])", 1),  # -4 + 2 + 3
    "multiples": ("multiples(10)", 23),  # 3 + 5 + 6 + 9
    "rotate": ("rotate([1, 2, 3, 4])", [4, 1, 2, 3]),
    "caesar": ("caesar('Xyz')", "Abc"),
    "window_sums": ("window_sums([1, 2, 3])", [3, 5]),
    "squeeze": ("squeeze('aaabb')", "3abb"),
    "top_words": ("top_words('b a b')", ["b"]),
    "nested": ("nested('[[()]]')", False),  # three deep, two allowed
    "merge": ("merge([[4, 5], [1, 3]])", [[1, 5]]),  # one apart
    "misses": ("misses('abca')", 4),  # two places
    "survivor": ("survivor(5)", 2),  # removed: 1 3 0 4
    "change": ("change(4)", 3),  # 1111 112 22
}


def test_there_are_three_tasks_of_each_family_numbered_by_place() -> None:
    assert [task.number for task in tasks()] == list(range(3 * len(FAMILIES)))
    assert len({task.says for task in tasks()}) == len(tasks())


@pytest.mark.parametrize("place", range(len(FAMILIES)))
def test_right_solutions_give_what_was_worked_out_by_hand(place: int) -> None:
    task = tasks()[3 * place]
    expression, expected = CHECKED_BY_HAND[task.function]
    names: dict[str, object] = {}
    exec(task.right, names)
    assert eval(expression, names) == expected


@pytest.mark.parametrize("task", tasks(), ids=lambda task: f"{task.function}-{task.number}")
def test_every_wrong_solution_differs_and_fails_its_tests(task) -> None:
    exec(task.right + task.tests, {})
    assert len(task.wrong) >= 2
    for wrong in task.wrong:
        assert wrong != task.right
        with pytest.raises(Exception):  # noqa: B017 - wrong code may fail in any way
            exec(wrong + task.tests, {})


async def test_the_sandbox_tells_right_from_wrong() -> None:
    task = tasks()[0]
    right, wrong = await asyncio.gather(
        run_tests(task.right, task.tests), run_tests(task.wrong[0], task.tests)
    )
    assert right.passed
    assert not wrong.passed
    assert "AssertionError: clamped_sum(" in wrong.output


async def test_the_sandbox_ends_what_does_not_end() -> None:
    verdict = await run_tests("while True: pass", "", timeout_s=0.3)
    assert not verdict.passed
    assert "did not end within 0.3 s" in verdict.output


async def test_the_sandbox_shares_nothing_with_this_program() -> None:
    verdict = await run_tests("import os, sys\nprint(sorted(os.environ), sys.flags.isolated)", "")
    assert verdict.passed
    names, isolated = verdict.output.rsplit(maxsplit=1)
    assert "PATH" not in names
    assert isolated == "1"


async def test_the_sandbox_limits_memory() -> None:
    verdict = await run_tests("x = bytearray(1 << 31)", "")
    assert not verdict.passed
    assert "MemoryError" in verdict.output


def test_code_is_taken_from_its_fence_or_as_it_is() -> None:
    assert code_of(AIMessage("Here:\n```python\nx = 1\n```\nDone.")) == "x = 1\n"
    assert code_of(AIMessage("x = 1")) == "x = 1"


async def test_a_good_model_solves_at_once() -> None:
    driven = await drive(SAMPLE, graph_with(SAMPLE, skill=GENIUS), task=5)
    assert driven.solved
    assert driven.state["attempt"] == 1


async def test_a_bad_model_gives_up_after_four_attempts() -> None:
    driven = await drive(SAMPLE, graph_with(SAMPLE, skill=NOVICE), task=5)
    assert not driven.solved
    assert driven.state["attempt"] == ATTEMPTS


async def test_a_good_repairer_mends_what_a_bad_writer_wrote() -> None:
    graph = graph_with(SAMPLE, skill=GENIUS, only={"write": NOVICE})
    driven = await drive(SAMPLE, graph, task=20)
    assert driven.solved
    assert driven.state["attempt"] == 2
