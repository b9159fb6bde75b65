"""What completions teach: lengths, what was left of runs, speeds, and confidence.

The only place where the scheduler tells its predictors the truth.
"""

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import END, Judgeable, Node, Run, Topology
from headway.core.inflight import Load
from headway.core.lessons import Lesson, Quantity
from headway.core.prompts import shapes_of
from headway.core.protocols import Foresight, Judged, Query
from headway.core.returning import after, is_tool, returns_to
from headway.core.types import Seconds
from headway.core.verdicts import failed_models, failures_shown, successes_shown

JUDGED_BY_NODE = "node"
JUDGED_BY_LOOP = "loop"
JUDGED_BY_FEEDBACK = "feedback"


def _believed(queue_s: Seconds | None, most_s: Seconds) -> Seconds | None:
    """What an engine said of a call's time in its queue, if that can be true (NaN cannot)."""
    return queue_s if queue_s is not None and 0.0 <= queue_s <= most_s else None


class Teacher:
    """Turns what happened into what predictors learn."""

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight
        self.judged: list[Judged] = []
        """Judgements since the scheduler last emptied it, for policies that learn from them."""
        self.lessons: list[Lesson] = []
        """What predictors were told since then, for shells that keep it."""

    def _learn(self, about: Quantity, query: Query, value: float) -> None:
        getattr(self._foresight, about).learn(query, value)
        self.lessons.append(Lesson(about=about, query=query, value=value))

    def call_answered(
        self, node: Node | None, call: Call, endpoint: Endpoint, load: Load, at: Seconds
    ) -> None:
        """A call ended well: its length, the endpoint's speed, the prefix found in its cache."""
        ended = call.ended
        if ended is None:
            return
        ask = call.ask
        query = Query(
            graph=ask.graph,
            node=ask.node_name,
            visit=ask.visit,
            model=call.model,
            run=ask.run,
            call=ask.call,
            step=ask.step,
            prompt_tokens=call.prompt_tokens,
            max_tokens=ask.max_tokens,
            needs=ask.needs,
            features=shapes_of(ask.features),
            past=None if node is None else node.past,
        )
        if ended.output_tokens is not None and ended.output_tokens >= 0:
            self._learn("output_tokens", query, float(ended.output_tokens))
            # one that stood in the engine's queue tells of that queue, not of the engine's speed,
            # unless the engine told how long it stood there
            queue_s = _believed(ended.queue_s, at - load.released_at)
            if (queue_s is not None or load.had_room) and load.output_tokens > 0:
                share = ended.output_tokens / load.output_tokens
                predicted_s = call.service_s * max(share, 0.05)
                real_s = at - load.released_at - (queue_s or 0.0)
                endpoint.observed(predicted_s, real_s, at_speed=load.speed)

    def call_followed(self, call: Call, same_endpoint: bool) -> None:
        """Whether a prompt was found in the cache of the endpoint that served the run last."""
        ended = call.ended
        if ended is None or not same_endpoint or ended.cached_tokens is None:
            return
        if ended.prompt_tokens is not None and ended.prompt_tokens > 0:
            place = Query(graph=call.ask.graph, node=call.ask.node_name)
            share = ended.cached_tokens / ended.prompt_tokens
            self._learn("prefix_share", place, min(max(share, 0.0), 1.0))

    def returned(self, run: Run, what: str, seconds: Seconds) -> None:
        """The run is back from what it waited for (`returning`)."""
        self._learn("return_s", returns_to(run, what), max(seconds, 0.0))

    def call_opened(self, run: Run, at: Seconds) -> None:
        """The run asks again: how long it was away since its last answer."""
        last = run.calls[-1] if run.calls else None
        if last is None or last.ended is None or last.closed_at is None:
            return
        if last.ended.outcome == "ok":
            self.returned(run, after(last.ask.node_name), at - last.closed_at)

    def answer(self, run: Run, topology: Topology, node: Node | None, call: Call) -> None:
        """An answer came whose worth will show; one that calls tools is not finished."""
        if call.ended is None or call.ended.tool_calls or call.closed_at is None:
            return
        one = Judgeable(
            node_name=call.ask.node_name,
            visit=call.ask.visit,
            model=call.model,
            closed_at=call.closed_at,
            failed_before=failed_models(run, topology, call.ask.node_name),
            output_tokens=call.ended.output_tokens,
            features=call.ask.features,
        )
        run.pending.append(one)
        run.unsaid.append(one)
        if node is not None:
            node.answer = one

    def node_started(self, run: Run, topology: Topology, node: Node) -> None:
        """A new visit of a node may show that an earlier answer did not do."""
        failed = failures_shown(run, topology, node)
        for one in failed:
            self._judge(run, one, ok=False, source=JUDGED_BY_LOOP)
        run.failed_models += tuple(one.model for one in failed)

    def node_ended(self, run: Run, node: Node) -> None:
        """A node that fails after its call answered had no use for the answer; a tool is back."""
        if node.outcome == "ok" and node.ended_at is not None and is_tool(node):
            self.returned(run, node.name, node.ended_at - node.started_at)
        if node.answer is None or node.outcome not in ("ok", "error"):
            return
        self._judge(run, node.answer, ok=node.outcome == "ok", source=JUDGED_BY_NODE)
        if node.outcome == "error":
            run.pending = [one for one in run.pending if one is not node.answer]
        node.answer = None

    def run_ended(self, run: Run, topology: Topology) -> None:
        """A run that ended well tells what was left at each of its nodes, and what sufficed."""
        if run.outcome != "ok":
            run.pending = []
            return
        followed = {parent for node in run.nodes.values() for parent in node.parents}
        for node in run.nodes.values():
            if node.id not in followed:
                topology.add_edge(node.name, END)
        for one in successes_shown(run, topology):
            self._judge(run, one, ok=True, source=JUDGED_BY_LOOP)
        for name, visits in sorted(run.visits.items()):
            topology.most_visits[name] = max(topology.most_visits.get(name, 0), visits)
        for rest in run.rest_of_path():
            place = run.query_of(rest.node)
            self._learn("rest_s", place, rest.seconds)
            self._learn("rest_tokens", place, float(rest.tokens))
            self._learn("rest_calls", place, float(rest.calls))

    def given_up(self, run: Run, node_name: str) -> None:
        """A graph stops asking at a node: what was answered there last did not do."""
        failed = [one for one in run.pending if one.node_name == node_name]
        for one in failed:
            self._judge(run, one, ok=False, source=JUDGED_BY_LOOP)
        run.failed_models += tuple(one.model for one in failed)
        run.pending = [one for one in run.pending if one.node_name != node_name]

    def feedback(self, run: Run, ok: bool, node_name: str) -> None:
        """Somebody said how good the answers since the last word were (of one node, or all)."""
        said = [one for one in run.unsaid if not node_name or one.node_name == node_name]
        for one in said:
            self._judge(run, one, ok=ok, source=JUDGED_BY_FEEDBACK)
        if not ok:
            run.failed_models += tuple(one.model for one in said)
        taken = {id(one) for one in said}
        run.unsaid = [one for one in run.unsaid if id(one) not in taken]

    def _judge(self, run: Run, one: Judgeable, *, ok: bool, source: str) -> None:
        query = Query(
            graph=run.graph,
            node=one.node_name,
            visit=one.visit,
            model=one.model,
            run=run.id,
            features=one.features,
        )
        failed = one.failed_before
        self._foresight.confidence.learn(query, ok, source=source, failed=failed)
        self.lessons.append(
            Lesson(about="confidence", query=query, value=float(ok), source=source, failed=failed)
        )
        self.judged.append(
            Judged(query=query, ok=ok, source=source, output_tokens=one.output_tokens)
        )
