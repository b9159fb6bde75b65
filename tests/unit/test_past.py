"""What a run has shown before a node, on runs worked by hand."""

from headway.core.past import History, Past


def told(*nodes: tuple[str, int]) -> list[Past]:
    """Nodes (name, step) as they start."""
    history = History()
    return [history.node_started(name, step) for name, step in nodes]


def test_a_run_that_begins_has_shown_nothing() -> None:
    assert told(("plan", 1)) == [Past()]


def test_stretches_and_repeats() -> None:
    pasts = told(("plan", 1), ("write", 2), ("write", 3), ("write", 4), ("test", 5), ("write", 6))
    assert [one.position for one in pasts] == [0, 1, 2, 3, 4, 5]
    assert [one.streak for one in pasts] == [0, 0, 1, 2, 0, 0]
    last = pasts[-1]
    assert (last.repeats, last.stretches, last.longest_streak) == (2, 3, 3)
    assert (last.stretch, last.entries) == (3, 1)  # of "write"
    assert (last.last, last.second_last, last.last_visits) == ("test", "write", 1)


def test_nodes_of_a_step_see_the_same_and_their_order_is_nothing() -> None:
    one = told(("plan", 1), ("left", 2), ("right", 2), ("sum", 3))
    other = told(("plan", 1), ("right", 2), ("left", 2), ("sum", 3))
    assert one[1] == one[2] == other[1] and one[3] == other[3]
    assert one[3].position == 3 and one[3].stretches == 2


def test_nodes_without_steps_come_one_after_another() -> None:
    assert [one.position for one in told(("a", 0), ("b", 0), ("b", 0))] == [0, 1, 2]


def test_answers() -> None:
    history = History()
    history.node_started("write", 1)
    history.answered("write", 100, 50)
    history.node_started("write", 2)
    history.answered("write", 160, 50)
    past = history.node_started("test", 3)
    assert (past.last_output, past.second_last_output, past.outputs) == (50, 50, 100)
    assert (past.longest_output, past.last_prompt, past.first_prompt) == (50, 160, 100)
    assert past.own_output == past.alike == 0
    again = history.node_started("write", 4)
    assert (again.own_output, again.alike) == (50, 1)


def test_tools_that_the_last_answer_called_and_nodes_of_the_last_step() -> None:
    history = History()
    history.node_started("plan", 1)
    history.answered("plan", 100, 50, 3)
    fan = [history.node_started(name, 2) for name in ("left", "right")]
    assert [(one.tool_calls, one.width) for one in fan] == [(3, 1), (3, 1)]
    history.answered("left", 100, 50)
    after = history.node_started("sum", 3)
    assert (after.tool_calls, after.width) == (0, 2)
