"""The recorded sets that predictors are judged on, and how they are split."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Generic, TypeVar

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.core.past import History, Past
from headway.core.types import Seconds
from headway.sim.bodies import prepared
from headway.sim.loaders import load
from headway.sim.trace import TraceRun

Judged = TypeVar("Judged")


class KnownCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call as a scheduler meets it, after the `past` of its run; and the tokens it wrote.

    Its answer asked for `tool_calls` tools. `model` and `features` of the prompt's text are empty
    where a set does not tell them. Before it the run waited `tool_s` for tools or
    `think_s` for a person (0: nobody told).
    """

    role: str
    visit: int
    step: int
    prompt_tokens: int
    output_tokens: int
    past: Past | None = None
    ahead: int = 0
    tool_calls: int = 0
    model: str = ""
    features: tuple[int, ...] = ()
    tool_s: Seconds = 0.0
    think_s: Seconds = 0.0


class KnownRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One recorded run: its calls in the order in which they were made."""

    id: str
    graph: str
    group: str
    calls: tuple[KnownCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """A set's runs. `source` says where they come from."""

    name: str
    source: str
    runs: tuple[KnownRun, ...]


SETS: dict[str, tuple[str, dict[str, str]]] = {
    "chatdev-default": ("chatdev_multiagent", {"variant": "default"}),
    "chatdev-agile": ("chatdev_multiagent", {"variant": "agile"}),
    "autocoderover": ("autocoderover_swebench", {}),
    "text2sql": ("text2sql_dag", {}),
    "tau": ("tau_dialog_workflows", {}),
    "weka": ("weka_agentic_coding", {"unit": "session"}),
}
"""By name: the data set, and which of its rows."""


class JudgedSet(msgspec.Struct, Generic[Judged], frozen=True, kw_only=True):
    """Something assessed on one set: by predictor, the scores of every split."""

    set_name: str
    source: str
    scores: dict[str, tuple[Judged, ...]]

    @property
    def heading(self) -> str:
        """Of its table."""
        return self.set_name


def read_set(name: str, folder: Path) -> KnownSet:
    """The set of that name. Raises `ConfigError` for one that is not known, or not there."""
    if name not in SETS:
        raise ConfigError(f"no set {name!r}{nearest(name, SETS)}")
    data, where = SETS[name]
    trace = load(data, folder, where=where)
    return KnownSet(name=name, source=trace.source, runs=tuple(_known(run) for run in trace.runs))


def halves(runs: tuple[KnownRun, ...], split: int) -> tuple[list[KnownRun], list[KnownRun]]:
    """Runs to learn from and runs to be judged on: whole groups, half of them each.

    Those to learn from come in an order drawn for the split. Files hold source after source, one
    benchmark's or model's runs and then another's, and who follows the work would end on the last.
    """
    draw = Random(f"assess/{split}")
    groups = sorted({run.group for run in runs})
    draw.shuffle(groups)
    taught = frozenset(groups[: len(groups) // 2])
    train = [run for run in runs if run.group in taught]
    draw.shuffle(train)
    return train, [run for run in runs if run.group not in taught]


def over_splits(
    known: KnownSet,
    splits: int,
    names: Iterable[str],
    judge: Callable[[str, list[KnownRun], list[KnownRun]], Judged],
    advance: Callable[[str], None],
) -> dict[str, tuple[Judged, ...]]:
    """What `judge` says of each name on each split; `advance` is told of each."""
    found: dict[str, list[Judged]] = {name: [] for name in names}
    for split in range(splits):
        train, test = halves(known.runs, split)
        for name, judged in found.items():
            advance(f"{known.name}, split {split + 1}: {name}")
            judged.append(judge(name, train, test))
    return {name: tuple(judged) for name, judged in found.items()}


def _known(run: TraceRun) -> KnownRun:
    body = prepared(run, 1)
    calls = tuple(
        KnownCall(
            role=node.plan.name,
            visit=node.visit,
            step=node.step,
            prompt_tokens=node.plan.prompt_tokens,
            output_tokens=node.plan.output_tokens,
            tool_calls=node.plan.tool_calls,
            tool_s=node.plan.tool_s,
            think_s=node.plan.think_s,
        )
        for node in body.nodes
        if node.plan.prompt_tokens
    )
    return KnownRun(id=run.id, graph=run.graph, group=run.group, calls=with_past(calls))


def with_past(calls: Iterable[KnownCall]) -> tuple[KnownCall, ...]:
    """The calls with what their run had shown before each; those of a step begin together."""
    history, told, found = History(), list[KnownCall](), []
    for call in calls:
        while told and told[0].step < call.step:
            one = told.pop(0)
            history.answered(one.role, one.prompt_tokens, one.output_tokens, one.tool_calls)
        past = history.node_started(call.role, call.step)
        found.append(msgspec.structs.replace(call, past=past))
        told.append(call)
    return tuple(found)
