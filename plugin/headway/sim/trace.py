"""The trace format: what runs ask for, independent of who serves them, and when.

A trace is a gzipped or plain file of JSON lines. The first line is the header,
``{"headway_trace": 1, "name": ..., "source": ...}``; every other line is a
`TraceRun`. A run is either a recorded DAG (`nodes`) or a question that a graph
asks again until its verdict is good (`question`), or both: a recorded DAG whose
last answer is judged by the question's labels (composed by a suite).

Tokens are counts, times are seconds. What a run will do is the simulator's to
know; the scheduler under test only sees what has been revealed.
"""

import msgspec

from headway.core.types import Seconds

TRACE_FORMAT = 1


class TraceHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First line of a trace file. `source` says where the numbers come from, for attribution."""

    headway_trace: int
    name: str
    source: str = ""


class TraceNode(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One node of a run.

    `parents` are places in the run's `nodes`, all smaller than this node's own;
    the node becomes ready `tool_s` (work of tools) plus `think_s` (a person's pause,
    which does not count as age) after the last of them has ended. Without
    `prompt_tokens` it makes no call. `output_tokens` is what the recorded model
    wrote, `outputs` what others wrote, by model. `prefix` names the prompt's blocks of
    the run's `block_tokens` as (first id, count) stretches; equal ids are equal text up to there.
    `pool_name` is the model name that its call asks for (empty: the suite's), `model` the model
    that it was recorded with, `models` those that it may only go to (empty: any of the pool name).
    """

    name: str
    parents: tuple[int, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    outputs: dict[str, int] = {}
    tool_s: Seconds = 0.0
    think_s: Seconds = 0.0
    tool_calls: int = 0
    max_tokens: int | None = None
    prefix: tuple[tuple[int, int], ...] = ()
    model: str = ""
    pool_name: str = ""
    models: tuple[str, ...] = ()


class Label(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """How one model did on a question.

    `chance` is its success probability given the question's difficulty, told by the
    other models' labels and calibrated over the set (None: not enough models to tell).
    """

    ok: bool
    output_tokens: int
    chance: float | None = None


class Question(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A task with known answers: `labels` by model. `kind` is the set's own category."""

    kind: str
    prompt_tokens: int
    labels: dict[str, Label]
    text: str = ""


class TraceRun(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One run. `group` names the underlying task: never train on a group and test on it.

    `arrival_s` is when it was recorded to arrive (None: not known), `deadline_s` its own deadline
    in seconds from its start (None: the suite's), `ok` whether it was
    recorded to succeed. `shared_blocks`: block ids mean the same text in all runs of the trace.
    """

    id: str
    graph: str
    group: str
    nodes: tuple[TraceNode, ...] = ()
    question: Question | None = None
    arrival_s: Seconds | None = None
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    ok: bool | None = None
    block_tokens: int = 64
    shared_blocks: bool = False


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one source, with a digest of the files that they came from."""

    name: str
    source: str
    runs: tuple[TraceRun, ...]
    digest: str = ""
