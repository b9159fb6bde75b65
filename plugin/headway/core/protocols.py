"""What can be put in: predictors and policies. Types only, no behaviour.

Learning and asking are apart: `learn` is the only thing that changes a
predictor, `estimate` and `chance` change nothing. All of them are
deterministic functions of what they were told, in order.
"""

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from headway.core.commands import Score
from headway.core.past import Past
from headway.core.types import EndpointId, Need, Seconds

if TYPE_CHECKING:
    from headway.core.facts import Event
    from headway.core.graph import Run
    from headway.core.view import View


class Estimate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A predicted quantity: median, 90th percentile, and the number of samples behind them."""

    p50: float
    p90: float
    samples: int = 0


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a prediction is asked for: a place in a graph, and the model if it matters.

    `run` lets a predictor join the calls of a run, `step` tells which of them were over when this
    one began (0: not known); only bounds that know the truth look at `call`. `prompt_tokens` is
    the prompt's size as it was estimated before the call (0: not known), `max_tokens` and `needs`
    are the request's own limit and what it uses. `features` are what the prompt's text says, hashed
    by `core.prompts.features` (empty: nobody told). `past` is what the run had shown when the node
    started (None: not told), `ahead` how many nodes its graph has from there to an end (0: not
    known).
    """

    graph: str
    node: str
    visit: int = 1
    model: str = ""
    run: str = ""
    call: str = ""
    step: int = 0
    prompt_tokens: int = 0
    max_tokens: int | None = None
    needs: tuple[Need, ...] = ()
    features: tuple[int, ...] = ()
    past: Past | None = None
    ahead: int = 0


class Judged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an answer was judged, by which source, and its length (None: not told)."""

    query: Query
    ok: bool
    source: str
    output_tokens: int | None = None


class Predictor(Protocol):
    """Predicts a non-negative quantity for a place in a graph."""

    def estimate(self, query: Query) -> Estimate:
        """The prediction; learns nothing. 0 <= p50 <= p90."""
        ...

    def learn(self, query: Query, value: float) -> None:
        """What it really was."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        ...


class Lasting(Predictor, Protocol):
    """Predicts a time that passes while it is waited for."""

    def left(self, query: Query, passed: Seconds) -> Estimate:
        """What is still to come of it, `passed` seconds after its beginning; learns nothing."""
        ...


class Confidence(Protocol):
    """Predicts whether a model's answer suffices at a place in a graph."""

    def chance(self, query: Query, failed: tuple[str, ...] = (), *, explore: bool = False) -> float:
        """Probability in (0, 1), given the models that have failed at this so far in the run.

        `explore` ignores what was learned about repeats, so that it can be unlearned.
        """
        ...

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """How an answer was judged, by which `source`: ``feedback``, ``loop`` or ``node``."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        ...


class Foresight(Protocol):
    """The predictors that a scheduler works with."""

    @property
    def output_tokens(self) -> Predictor:
        """Output tokens of a call."""
        ...

    @property
    def rest_s(self) -> Predictor:
        """Stand-alone seconds from the start of a node to the end of its run."""
        ...

    @property
    def rest_tokens(self) -> Predictor:
        """Output tokens from the start of a node to the end of its run, all branches."""
        ...

    @property
    def rest_calls(self) -> Predictor:
        """Calls that will be answered from the start of a node to the end of its run, likewise."""
        ...

    @property
    def prefix_share(self) -> Predictor:
        """Share of a prompt cached where the run's last call was served."""
        ...

    @property
    def return_s(self) -> Lasting:
        """Seconds until a run that waits for a tool or a person comes back (`core.returning`)."""
        ...

    @property
    def confidence(self) -> Confidence:
        """Whether an answer will suffice."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """How each has done of late, in plain types; see `predict.trust`."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        ...


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A policy's choice: let `call` go to `endpoint` with `urgency` (higher is served first).

    `output_limit` is the most tokens that the answer may have (None: as the request says).
    """

    call: Any
    endpoint: EndpointId
    urgency: float
    why: str
    scores: tuple[Score, ...] = ()
    output_limit: int | None = None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A policy's word that nothing is to be released before `until` unless something happens."""

    until: float


class Policy(Protocol):
    """Decides which waiting call is released next, where, and how urgently.

    `choose` is asked until it releases nothing more, after every event that can change its
    answer. It must not change the view, must be a function of the view, and
    must name a candidate of the call. `binds_early` policies may release to an
    endpoint without room; all others are held to it.

    A policy may also have the methods of `Heeding` and `Advising`.
    """

    name: str
    binds_early: bool

    def choose(self, view: "View") -> Release | Wait | None:
        """The next release; or when to be asked again, None if only an event can change things."""
        ...


class Heeding(Protocol):
    """A policy that learns from what happens: `heed` is the only thing that changes it."""

    def heed(self, event: "Event", view: "View") -> None:
        """Called with every event once the books are right, before `choose` is asked."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """All that it learned, in plain msgpack types."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        ...


class Advising(Protocol):
    """A policy that can tell a graph when another attempt is not worth it."""

    def worth_retrying(self, view: "View", run: "Run", node_name: str) -> bool:
        """Whether the graph should ask again at `node_name` after its last answer failed."""
        ...
