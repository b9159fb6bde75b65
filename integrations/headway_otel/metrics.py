"""The instruments: the conventions' histograms and counters, and ours. No ids on any of them."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.util.types import AttributeValue

from headway.client import Route
from headway.core.facts import CallEnded
from headway_otel import conventions as names

Attributes = dict[str, AttributeValue]
ON_CALLS = (
    names.OPERATION,
    names.PROVIDER,
    names.REQUEST_MODEL,
    names.RESPONSE_MODEL,
    names.ADDRESS,
    names.PORT,
)
"""What of a chat span's attributes its metrics have too, all of few values."""


class Instruments:
    """Everything that is measured, made once per installation. A meter of no provider is free."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, buckets: Sequence[float], what: str) -> Histogram:
            return meter.create_histogram(
                name, "s", what, explicit_bucket_boundaries_advisory=buckets
            )

        def sizes(name: str, unit: str, buckets: Sequence[float], what: str) -> Histogram:
            return meter.create_histogram(
                name, unit, what, explicit_bucket_boundaries_advisory=buckets
            )

        def tokens(name: str, what: str) -> Counter:
            return meter.create_counter(name, "{token}", what)

        self._call = seconds(
            names.INFERENCE_DURATION, names.CALL_BUCKETS_S, "an attempt, its wait included"
        )
        self._first = seconds(
            names.INFERENCE_FIRST_CHUNK, names.CALL_BUCKETS_S, "sending to first chunk, if streamed"
        )
        self._used_input = tokens(names.USED_INPUT, "input tokens, cached ones included")
        self._used_cached = tokens(names.USED_CACHED, "input tokens served from a cache")
        self._used_output = tokens(names.USED_OUTPUT, "output tokens")
        of_tokens = ("{token}", names.TOKEN_BUCKETS)
        self._input = sizes(names.EACH_INPUT, *of_tokens, "input tokens of one attempt")
        self._output = sizes(names.EACH_OUTPUT, *of_tokens, "output tokens of one attempt")
        self._workflow = seconds(
            names.WORKFLOW_DURATION, names.WORKFLOW_BUCKETS_S, "a run of a graph"
        )
        self._agent = seconds(names.AGENT_DURATION, names.AGENT_BUCKETS_S, "a run of an agent")
        calls, tools = "model calls of one run of an agent", "tools that one run of an agent used"
        self._agent_calls = sizes(names.AGENT_CALLS, "{inference_call}", names.COUNT_BUCKETS, calls)
        self._agent_tools = sizes(names.AGENT_TOOLS, "{tool_call}", names.COUNT_BUCKETS, tools)
        self._tool = seconds(names.TOOL_DURATION, names.CALL_BUCKETS_S, "one use of a tool")
        self._wait = seconds(
            names.WAIT_METRIC, names.WAIT_BUCKETS_S, "an attempt's wait for release"
        )
        self._decisions = meter.create_counter(names.DECISIONS, "{decision}", "decisions made")
        self._prediction = sizes(
            names.PREDICTION, "1", names.RATIO_BUCKETS, "output tokens, told over predicted"
        )

    def decided(self, pool_name: str, route: Route, wait_s: float, context: Context) -> None:
        """A decision was made, after a wait."""
        spec = route.endpoint
        said: Attributes = {names.POOL_NAME: pool_name, names.SOURCE: route.source}
        if spec is not None:
            said[names.ENDPOINT] = spec.id
            said[names.REQUEST_MODEL] = spec.model
        self._decisions.add(1, said, context)
        self._wait.record(wait_s, said, context)

    def called(
        self,
        ended: CallEnded,
        duration_s: float,
        on_span: Attributes,
        *,
        predicted: float,
        context: Context,
    ) -> None:
        """An attempt is over; `on_span` are its span's attributes."""
        said = {name: on_span[name] for name in ON_CALLS if name in on_span}
        failed = dict(said)
        if names.ERROR in on_span:
            failed[names.ERROR] = on_span[names.ERROR]
        self._call.record(duration_s, failed, context)
        if ended.first_token_s is not None:
            self._first.record(ended.first_token_s, said, context)
        # Nobody tells the tokens of text, pictures and sound apart.
        counted = {**said, names.MODALITY: "unknown"}
        for used, each, tokens in (
            (self._used_input, self._input, ended.prompt_tokens),
            (self._used_output, self._output, ended.output_tokens),
        ):
            if tokens is not None:
                used.add(tokens, counted, context)
                each.record(tokens, said, context)
        if ended.cached_tokens is not None:
            self._used_cached.add(ended.cached_tokens, counted, context)
        if ended.outcome == "ok" and predicted > 0 and ended.output_tokens is not None:
            model = {names.REQUEST_MODEL: said.get(names.REQUEST_MODEL, "")}
            self._prediction.record(ended.output_tokens / predicted, model, context)

    def ran(
        self,
        graph: str,
        duration_s: float,
        *,
        error: str,
        is_agent: bool,
        calls: int,
        tools: int,
        context: Context,
    ) -> None:
        """A run of a workflow or an agent is over, which made so many calls itself."""
        said: Attributes = {names.AGENT if is_agent else names.WORKFLOW: graph}
        failed: Attributes = {**said, names.ERROR: error} if error else said
        if not is_agent:
            self._workflow.record(duration_s, failed, context)
            return
        self._agent.record(duration_s, failed, context)
        self._agent_calls.record(calls, said, context)
        self._agent_tools.record(tools, said, context)

    def used_tool(
        self, name: str, duration_s: float, *, agent: str, error: str, context: Context
    ) -> None:
        """A tool is done; `agent` is who used it, if it was one."""
        said: Attributes = {names.TOOL: name, names.TOOL_TYPE: "function"}
        if agent:
            said[names.AGENT] = agent
        if error:
            said[names.ERROR] = error
        self._tool.record(duration_s, said, context)
