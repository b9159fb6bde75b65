"""What a report of journals consists of: plain data, seconds and tokens."""

from dataclasses import dataclass

from headway.core.hindsight import Hindsight
from headway.core.types import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and quantiles of `n` values, linear between neighbours."""

    n: int
    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """One journal file; `cut_at` is the byte where it stops to be readable, if it does."""

    path: str
    headway: str
    policy: str
    events: int
    span_s: Seconds
    cut_at: int | None
    cut_why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsOfGraph:
    """Ended runs of a graph. `completion` in seconds is of those that ended well.

    `met` of `with_deadline` runs ended well in time; runs that were cancelled count in neither.
    """

    graph: str
    outcomes: dict[str, int]
    completion: Spread | None
    with_deadline: int
    met: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsOfPoolName:
    """How long calls for a pool name waited for their release, in seconds.

    `refused` calls found no endpoint that may serve them.
    """

    pool_name: str
    held: Spread | None
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsOfModel:
    """Closed calls that a model answered; an empty `model` is one that the journal does not tell.

    `sufficed` of `judged` answers did, by the most telling source of each node.
    """

    model: str
    outcomes: dict[str, int]
    prompt_tokens: int
    output_tokens: int
    judged: int
    sufficed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsOfEndpoint:
    """Closed calls on an endpoint; `busy_share` of the time it had at least one of ours."""

    endpoint: str
    outcomes: dict[str, int]
    prompt_tokens: int
    output_tokens: int
    busy_share: float
    mean_running: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Something that happened `count` times: a failed call, a notice, a defect of Headway."""

    kind: str
    place: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How predictions for one node and model turned out."""

    graph: str
    node: str
    model: str
    turned_out: Hindsight


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowChoice:
    """Calls for a pool name that went to `went` while shadow mode chose `would`.

    `went` is empty where the client did not tell, `would` where the call ended before it would
    have been released.
    """

    pool_name: str
    went: str
    would: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherChoices:
    """Decisions at one node, and how many another policy makes otherwise.

    It is told the recorded events, so `never` are calls that it had not released by their end.
    """

    graph: str
    node: str
    decisions: int
    other_model: int
    other_endpoint: int
    never: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it. Lists have the most telling entry first."""

    files: tuple[FileRead, ...]
    events: int
    span_s: Seconds
    modes: tuple[str, ...]
    runs: tuple[RunsOfGraph, ...]
    runs_open: int
    calls_by_decision: int
    calls_alone: int
    calls_dropped: int
    calls_open: int
    waits: tuple[WaitsOfPoolName, ...]
    models: tuple[CallsOfModel, ...]
    endpoints: tuple[CallsOfEndpoint, ...]
    failures: tuple[Counted, ...]
    notices: tuple[Counted, ...]
    defects: tuple[Counted, ...]
    predictions_all: Hindsight | None
    predictions: tuple[Prediction, ...]
    shadow: tuple[ShadowChoice, ...]
    other_policy: str
    otherwise: tuple[OtherChoices, ...]
    moves: tuple[Counted, ...]
    notes: tuple[str, ...]
