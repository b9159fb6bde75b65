"""Generated families: deterministic, well-formed, with the means that they imitate."""

import statistics
from collections import Counter

import pytest

from headway.core.errors import ConfigError
from headway.sim.families import FAMILIES, SKILLS, Law, generate
from headway.sim.trace import TraceNode, TraceRun

EVERY = pytest.mark.parametrize("name", FAMILIES)


def calls_of(run: TraceRun) -> list[TraceNode]:
    return [node for node in run.nodes if node.prompt_tokens]


@EVERY
def test_a_trace_is_a_function_of_name_runs_and_seed(name: str) -> None:
    trace = generate(name, runs=8, seed=3)
    assert trace == generate(name, runs=8, seed=3)
    assert trace.runs[:5] == generate(name, runs=5, seed=3).runs
    other = generate(name, runs=8, seed=4)
    assert trace.runs != other.runs and trace.digest != other.digest
    assert "synthetic" in trace.source


@EVERY
def test_runs_are_well_formed(name: str) -> None:
    runs = generate(name, runs=60, seed=1).runs
    assert len({run.id for run in runs}) == 60
    for run in runs:
        assert bool(run.nodes) != (run.question is not None)
        for place, node in enumerate(run.nodes):
            assert all(0 <= parent < place for parent in node.parents)
            assert node.tool_s >= 0.0 and node.think_s >= 0.0
            if not node.prompt_tokens:
                assert node.output_tokens == 0
                continue
            assert node.max_tokens is not None and 1 <= node.output_tokens <= node.max_tokens
            assert sum(count for _, count in node.prefix) in (0, node.prompt_tokens // 64)


@pytest.mark.parametrize(
    ("name", "runs", "calls", "prompt", "output"),
    [
        ("sharegpt-like", 1500, 6.66, 256, 277),
        ("bfcl-like", 1500, 10.75, 735, 34),
        ("lats-like", 60, 160, 467, 73),
    ],
)
def test_the_means_of_the_papers(
    name: str, runs: int, calls: float, prompt: float, output: float
) -> None:
    made = [calls_of(run) for run in generate(name, runs=runs, seed=1).runs]
    every = [call for one in made for call in one]
    assert len(every) / runs == pytest.approx(calls, rel=0.07)
    assert statistics.fmean(call.prompt_tokens for call in every) == pytest.approx(prompt, rel=0.05)
    assert statistics.fmean(call.output_tokens for call in every) == pytest.approx(output, rel=0.08)


def test_single_runs_are_one_call() -> None:
    assert all(len(run.nodes) == 1 for run in generate("single", runs=30, seed=1).runs)


def test_chains_have_one_to_eight_calls_each_seeing_the_last() -> None:
    runs = generate("chain", runs=200, seed=1).runs
    assert {len(run.nodes) for run in runs} == set(range(1, 9))
    for run in runs:
        for place, node in enumerate(run.nodes):
            assert node.parents == ((place - 1,) if place else ())
            if place:
                before = run.nodes[place - 1]
                assert node.prompt_tokens > before.prompt_tokens + before.output_tokens


def test_a_fanout_joins_all_its_researchers() -> None:
    widths = []
    for run in generate("fanout", runs=300, seed=1).runs:
        plan, *middle, join, writer = run.nodes
        widths.append(len(middle))
        assert all(node.parents == (0,) for node in middle)
        assert join.prompt_tokens == 0 and len(join.parents) == len(middle)
        assert writer.parents == (len(run.nodes) - 2,)
        # siblings share the plan's text and nothing else
        shared = (plan.prompt_tokens + plan.output_tokens) // 64
        assert all(node.prefix[0] == (0, shared) for node in middle)
        own = [first for node in middle for first, _ in node.prefix[1:]]
        assert len(own) == len(set(own)) and all(first > shared for first in own)
    assert min(widths) == 2 and max(widths) == 32


def test_a_loop_ends_when_its_tests_pass_and_failures_foretell_failures() -> None:
    runs = generate("loop", runs=1000, seed=1).runs
    answers = [len(calls_of(run)) for run in runs]
    assert min(answers) == 1 and max(answers) == 6
    assert all(run.ok for run, count in zip(runs, answers, strict=True) if count < 6)
    first = sum(count == 1 for count in answers) / len(answers)
    second = sum(count == 2 for count in answers) / sum(count >= 2 for count in answers)
    assert second < first - 0.05


def test_a_tree_expands_in_parallel_and_selects_between() -> None:
    for run in generate("tree", runs=20, seed=1).runs:
        names = Counter(node.name for node in run.nodes)
        assert names["expand"] == names["value"] == 3 * names["select"]
        assert 2 <= names["select"] <= 8


def test_a_chat_pauses_before_each_later_turn_and_keeps_its_prefix() -> None:
    for run in generate("chat", runs=50, seed=1).runs:
        assert run.nodes[0].think_s == 0.0
        assert all(node.think_s > 0.0 for node in run.nodes[1:])
        assert all(node.prefix == ((0, node.prompt_tokens // 64),) for node in run.nodes)


def test_a_mix_has_all_shapes() -> None:
    graphs = {run.graph for run in generate("mixed", runs=200, seed=1).runs}
    assert graphs == {"chain", "loop", "chat", "fanout", "single", "tree"}


def test_roles_differ_in_length() -> None:
    lengths: dict[str, list[int]] = {}
    for run in generate("chain", runs=300, seed=1).runs:
        for node in run.nodes:
            lengths.setdefault(node.name, []).append(node.output_tokens)
    assert statistics.median(lengths["draft"]) > 5 * statistics.median(lengths["search"])


def test_larger_models_are_right_more_often_and_chances_are_calibrated() -> None:
    questions = [run.question for run in generate("questions", runs=3000, seed=1).runs]
    rates = []
    for model in SKILLS:
        labels = [one.labels[model] for one in questions if one is not None]
        rates.append(statistics.fmean(label.ok for label in labels))
        sure = [label for label in labels if label.chance is not None and label.chance > 0.8]
        told = statistics.fmean(label.chance or 0.0 for label in sure)
        assert statistics.fmean(label.ok for label in sure) == pytest.approx(told, abs=0.03)
    assert rates == sorted(rates) and rates[0] > 0.3 and rates[-1] < 0.9


def test_a_law_has_its_mean() -> None:
    import random

    rng = random.Random(1)
    drawn = [Law(200.0, 0.8).draw(rng, 2.0) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(400.0, rel=0.03)
    assert statistics.pstdev(drawn) == pytest.approx(320.0, rel=0.06)


def test_what_cannot_be_generated_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean `fanout`"):
        generate("fan-out", runs=1, seed=1)
    with pytest.raises(ConfigError, match=r"^runs"):
        generate("single", runs=0, seed=1)
