"""From facts to attributes: what stands on which span. Pure. Content is never among it."""

from functools import lru_cache
from urllib.parse import urlsplit

from headway.client import Route
from headway.client.watching import ToolStarted
from headway.core.facts import CallEnded, CallReady, GraphSeen, NodeStarted, RunStarted
from headway.core.pool import EndpointSpec
from headway_otel import conventions as names
from headway_otel.metrics import Attributes

PROVIDER_UNKNOWN = "openai"
"""Who answers is not known before the decision; every covered client speaks OpenAI's API."""
MODEL_NODES = ("model", "agent")
HOOKS = (".before_agent", ".before_model", ".after_model", ".after_agent")
HELPERS = ("tools", "pre_model_hook", "post_model_hook", "generate_structured_response")


def is_agent(graph: GraphSeen) -> bool:
    """Whether a graph is what LangChain's `create_agent` (or `create_react_agent`) makes.

    Told by its nodes: a model and its tools, and else only the hooks of middleware.
    """
    others = [name for name in graph.nodes if name not in MODEL_NODES]
    return (
        len(graph.nodes) - len(others) == 1
        and bool(others)
        and all(name in HELPERS or name.endswith(HOOKS) for name in others)
    )


def of_run(fact: RunStarted, *, agent: bool) -> Attributes:
    """The attributes of a run's span."""
    said: Attributes = {
        names.OPERATION: names.INVOKE_AGENT if agent else names.INVOKE_WORKFLOW,
        names.AGENT if agent else names.WORKFLOW: fact.graph,
        names.RUN: fact.run,
        names.GRAPH: fact.graph,
    }
    if fact.resumed:
        said[names.RESUMED] = True
    if fact.deadline_s is not None:
        said[names.DEADLINE] = fact.deadline_s
    if fact.budget is not None:
        said[names.BUDGET] = fact.budget
    optional: tuple[tuple[str, str | None], ...] = (
        (names.CONVERSATION, fact.thread),
        (names.PARENT_RUN, fact.parent_run),
        (names.NODE, fact.parent_node),
        (names.CLASS, fact.service_class),
        (names.TENANT, fact.tenant),
    )
    said.update({name: value for name, value in optional if value})
    if fact.tags:
        said[names.TAGS] = fact.tags
    if fact.models:
        said[names.MODELS] = fact.models
    return said


def of_node(fact: NodeStarted, graph: str) -> Attributes:
    """The attributes of a node's span."""
    said: Attributes = {
        names.RUN: fact.run,
        names.GRAPH: graph,
        names.NODE: fact.node,
        names.NODE_NAME: fact.name,
        names.VISIT: fact.visit,
        names.STEP: fact.step,
    }
    if fact.parents:
        said[names.PARENTS] = fact.parents
    return said


def of_call(ask: CallReady, *, thread: str) -> Attributes:
    """The attributes of an attempt's span at its start, before the decision."""
    said: Attributes = {
        names.OPERATION: names.CHAT,
        names.PROVIDER: PROVIDER_UNKNOWN,
        names.REQUEST_MODEL: ask.pool_name,
        names.POOL_NAME: ask.pool_name,
        names.RUN: ask.run,
        names.GRAPH: ask.graph,
        names.NODE: ask.node,
        names.CALL: ask.call,
        names.ATTEMPT: ask.attempt,
        names.PROMPT_CHARS: ask.prompt_chars,
    }
    if thread:
        said[names.CONVERSATION] = thread
    if ask.max_tokens is not None:
        said[names.REQUEST_MAX_TOKENS] = ask.max_tokens
    if ask.deadline_s is not None:
        said[names.DEADLINE] = ask.deadline_s
    if ask.needs:
        said[names.NEEDS] = ask.needs
    return said


def of_route(route: Route, *, wait_s: float) -> Attributes:
    """What a decision adds to its attempt's span."""
    said: Attributes = {
        names.SOURCE: route.source,
        names.WHY: route.why,
        names.URGENCY: route.urgency,
        names.HELD: route.held_s,
        names.WAIT: wait_s,
    }
    if route.output_tokens > 0:
        said[names.PREDICTED] = route.output_tokens
    said.update({names.FORECAST + name: value for name, value in route.forecasts.items()})
    spec = route.endpoint
    if spec is not None:
        said[names.ENDPOINT] = spec.id
        if route.applies:
            said.update(of_endpoint(spec))
    return said


def of_endpoint(spec: EndpointSpec) -> Attributes:
    """What the endpoint that an attempt goes to adds to its span."""
    said: Attributes = {names.ENDPOINT: spec.id, names.REQUEST_MODEL: spec.model}
    if spec.engine:
        said[names.PROVIDER] = spec.engine
    address, port = _server(spec.url)
    if address:
        said[names.ADDRESS] = address
    if address and port:
        said[names.PORT] = port
    return said


def of_call_end(ended: CallEnded, before: Attributes) -> Attributes:
    """What the end of an attempt adds to its span, which says `before`."""
    said: Attributes = {}
    if ended.prompt_tokens is not None:
        said[names.INPUT_TOKENS] = ended.prompt_tokens
    if ended.cached_tokens is not None:
        said[names.CACHED_TOKENS] = ended.cached_tokens
    if ended.output_tokens is not None:
        said[names.OUTPUT_TOKENS] = ended.output_tokens
    if ended.first_token_s is not None:
        said[names.REQUEST_STREAM] = True
        said[names.FIRST_CHUNK] = ended.first_token_s
    if ended.finish_reason:
        said[names.FINISH_REASONS] = (ended.finish_reason,)
    if ended.tool_calls:
        said[names.TOOL_CALLS] = ended.tool_calls
    if ended.outcome == "ok":
        said[names.RESPONSE_MODEL] = before[names.REQUEST_MODEL]
    return said


def of_tool(fact: ToolStarted, *, agent: str, thread: str) -> Attributes:
    """The attributes of a tool's span."""
    said: Attributes = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL: fact.name,
        names.TOOL_TYPE: "function",
        names.RUN: fact.run,
        names.NODE: fact.node,
    }
    if fact.call_id:
        said[names.TOOL_CALL] = fact.call_id
    if agent:
        said[names.AGENT] = agent
    if thread:
        said[names.CONVERSATION] = thread
    return said


@lru_cache(maxsize=1024)
def _server(url: str) -> tuple[str, int | None]:
    """Host and port of a base URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return parts.hostname or "", port
    except ValueError:
        return "", None
