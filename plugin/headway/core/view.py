"""What a policy may look at: the waiting calls, the endpoints, and what is foreseen.

A view is made by the scheduler for one question and holds no state of its
own. Policies read it and change nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from headway.core.books import Books
from headway.core.calls import Call, CallKey
from headway.core.endpoints import Endpoint
from headway.core.graph import Run, Topology
from headway.core.pool import Pool
from headway.core.protocols import Estimate, Foresight, Judged, Query
from headway.core.returning import waits_for
from headway.core.types import EndpointId, RunId, Seconds
from headway.core.verdicts import failed_models, rounds_left

TOKENS_OF_WORK_PER_OUTPUT = 6.0
"""An output token costs about as much engine time as this many uncached prompt tokens."""


@dataclass(slots=True, kw_only=True)
class View:
    """The scheduler's state at one moment. `waiting` is in order of arrival.

    `began` is the first instant that the scheduler was told of: clocks may count from a boot.
    `judged` are the answers that the event at hand told the worth of.
    """

    at: Seconds
    pool: Pool
    waiting: Collection[Call]
    endpoints: Mapping[EndpointId, Endpoint]
    runs: Mapping[RunId, Run]
    topologies: Mapping[str, Topology]
    foresight: Foresight
    books: Books
    seed: int = 0
    began: Seconds = 0.0
    judged: Sequence[Judged] = ()
    _outputs: dict[tuple[CallKey, str], Estimate] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def candidates(self, call: Call) -> list[Endpoint]:
        """Endpoints that may serve the call and are up, in the user's order.

        A retry goes where it has not failed yet, if there is such an endpoint.
        """
        up = [
            endpoint
            for endpoint_id in call.candidates
            if (endpoint := self.endpoints[endpoint_id]).up(self.at)
        ]
        if call.avoid:
            return [one for one in up if one.id not in call.avoid] or up
        return up

    def any_room(self, endpoints: Iterable[Endpoint]) -> bool:
        """Whether any of `endpoints` has a free seat at all."""
        return any(endpoint.has_room(0.0) for endpoint in endpoints)

    def has_room(self, call: Call, endpoint: Endpoint) -> bool:
        """Whether the endpoint's engine would start the call at once."""
        return endpoint.has_room(call.prompt_tokens + self.output(call, endpoint.spec.model).p90)

    def wait_s(self, call: Call, endpoint: Endpoint, ahead: float) -> Seconds:
        """Seconds until the engine would start the call, with `ahead` others before it."""
        need = call.prompt_tokens + self.output(call, endpoint.spec.model).p90
        return endpoint.wait_s(self.at, ahead, need)

    def query(self, call: Call, model: str = "") -> Query:
        """The call's place in its graph, for a predictor."""
        ask = call.ask
        node = self.runs[call.run].nodes.get(ask.node)
        return Query(
            graph=ask.graph,
            node=ask.node_name,
            visit=ask.visit,
            model=model,
            run=ask.run,
            call=ask.call,
            step=ask.step,
            prompt_tokens=call.prompt_tokens,
            max_tokens=ask.max_tokens,
            needs=ask.needs,
            features=ask.features,
            past=None if node is None else node.past,
            ahead=0 if node is None else node.ahead,
        )

    def output(self, call: Call, model: str) -> Estimate:
        """Output tokens that `model` would write, never more than the request allows."""
        # Endpoints of one model share the answer, and a policy asks it for room and for time.
        key = (call.key, model)
        found = self._outputs.get(key)
        if found is None:
            found = self._outputs[key] = self._output(call, model)
        return found

    def _output(self, call: Call, model: str) -> Estimate:
        found = self.foresight.output_tokens.estimate(self.query(call, model))
        limit = call.ask.max_tokens
        if limit is None or found.p90 <= limit:
            return found
        return Estimate(p50=min(found.p50, limit), p90=limit, samples=found.samples)

    def uncached_tokens(self, call: Call, endpoint: Endpoint) -> float:
        """Prompt tokens to prefill there: less where the run's last call was served."""
        run = self.runs[call.run]
        if run.last_endpoint != endpoint.id:
            return call.prompt_tokens
        share = self.foresight.prefix_share.estimate(self.query(call)).p50
        return call.prompt_tokens * (1.0 - share)

    def chance(self, call: Call, model: str, failed: tuple[str, ...]) -> float:
        """Confidence that `model`'s answer suffices once the models in `failed` have failed."""
        ask = call.ask
        query = Query(
            graph=ask.graph,
            node=ask.node_name,
            model=model,
            run=ask.run,
            call=ask.call,
            features=ask.features,
        )
        explore = self.runs[call.run].explores
        return self.foresight.confidence.chance(query, failed, explore=explore)

    def failed(self, call: Call) -> tuple[str, ...]:
        """Models whose answers have failed in the call's loop of this run."""
        run = self.runs[call.run]
        topology = self.topologies.get(call.ask.graph) if run.failed_models else None
        return failed_models(run, topology, call.ask.node_name) if topology else ()

    def rounds_left(self, call: Call) -> int:
        """How often the graph may still ask again if this answer fails."""
        topology = self.topologies.get(call.ask.graph)
        return rounds_left(self.runs[call.run], topology, call.ask.node_name) if topology else 0

    def horizon(self, call: Call) -> tuple[Seconds, float]:
        """What is left of the whole run from this call on: stand-alone seconds, work in tokens.

        Work counts the prompt and the weighted output of all branches. Medians; for a graph
        inside a graph, no less than what is left of the node around it.
        """
        run = self.runs[call.run]
        query = self.query(call)
        rest_s = self.foresight.rest_s.estimate(query).p50
        output = self.foresight.rest_tokens.estimate(query).p50
        while run.parent is not None and run.parent_node is not None:
            node = run.parent.nodes.get(run.parent_node)
            if node is not None:
                around = run.parent.query_of(node)
                left_s = self.foresight.rest_s.estimate(around).p50 - run.attained_s
                rest_s = max(rest_s, left_s)
                output = max(output, self.foresight.rest_tokens.estimate(around).p50)
            run = run.parent
        return rest_s, call.prompt_tokens + TOKENS_OF_WORK_PER_OUTPUT * output

    def return_s(self, run: Run) -> Estimate | None:
        """Seconds until a run that waits for a tool or a person asks again; None if it does not.

        A graph inside a graph is asked about by itself.
        """
        waits = waits_for(run, self.at)
        return None if waits is None else self.foresight.return_s.left(*waits)

    def draw(self, *names: object) -> float:
        """A number in [0, 1) that is always the same for these names under this seed.

        Hashed rather than drawn, so that asking twice, or about other calls first, changes nothing.
        """
        digest = blake2b(repr((self.seed, *names)).encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big") / 2**56

    def overtaken(self, call: Call) -> int:
        """How many calls were released since this one was ready."""
        return self.books.releases - call.releases_before

    def first_model(self, call: Call) -> str:
        """The model that answered the run's first call; empty before that was released."""
        run = self.runs[call.run]
        return next((one.model for one in run.calls if one.model), "")

    def served_s(self, call: Call) -> Seconds:
        """Service that the whole run has had, in seconds on idle endpoints, all calls together."""
        return self.runs[call.run].root.served_s

    def path_s(self, call: Call) -> Seconds:
        """Service along the longest path of the run that led to this call's node."""
        return self.runs[call.run].nodes[call.ask.node].path_s

    def attained_s(self, call: Call) -> Seconds:
        """Stand-alone seconds of what the whole run has done, siblings by their maximum."""
        return self.runs[call.run].root.attained_s

    def service_class(self, call: Call) -> str:
        """The whole run's service class; empty if it has none."""
        return self.runs[call.run].root.service_class or call.ask.service_class

    def age_s(self, call: Call) -> Seconds:
        """Seconds that the whole run has taken so far, without waiting for people."""
        return self.runs[call.run].root.age_s(self.at)

    def deadline_s(self, call: Call) -> Seconds | None:
        """The whole run's deadline in seconds from its start, its own or its class's."""
        root = self.runs[call.run].root
        if root.deadline_s is not None:
            return root.deadline_s
        if call.ask.deadline_s is not None:
            return call.ask.deadline_s
        return self.pool.class_deadlines.get(root.service_class)
