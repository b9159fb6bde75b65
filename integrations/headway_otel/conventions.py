"""The names on our spans and metrics: OpenTelemetry's for GenAI, pinned, and our own.

The GenAI conventions are developed in their own repository, which has no release yet: what
is published is its main branch. So the names are those of one commit of it, written down
here and nowhere else. A newer commit means a look at this file, and a new golden file.
"""

from typing import Final

SEMCONV: Final = (
    "open-telemetry/semantic-conventions-genai@06ec68e722c45a7218e23ea1bc1339fe4e21ecae"
)
"""Whose names these are: repository and commit (of October 2026)."""
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
"""The schema that the repository states at that commit."""

# Attributes of the conventions.

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
WORKFLOW: Final = "gen_ai.workflow.name"
AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL: Final = "gen_ai.tool.call.id"
MODALITY: Final = "gen_ai.token.modality"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"
ERROR: Final = "error.type"
OTHER_ERROR: Final = "_OTHER"

CHAT: Final = "chat"
INVOKE_WORKFLOW: Final = "invoke_workflow"
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"

# Our own attributes.

RUN: Final = "headway.run.id"
PARENT_RUN: Final = "headway.run.parent.id"
GRAPH: Final = "headway.graph"
NODE: Final = "headway.node.id"
NODE_NAME: Final = "headway.node.name"
PARENTS: Final = "headway.node.parents"
VISIT: Final = "headway.visit"
STEP: Final = "headway.step"
CALL: Final = "headway.call.id"
ATTEMPT: Final = "headway.attempt"
POOL_NAME: Final = "headway.pool_name"
PROMPT_CHARS: Final = "headway.prompt_chars"
NEEDS: Final = "headway.needs"
TOOL_CALLS: Final = "headway.tool_calls"
WAIT: Final = "headway.wait_s"
OUTCOME: Final = "headway.outcome"
RESUMED: Final = "headway.resumed"
DEADLINE: Final = "headway.objective.deadline_s"
CLASS: Final = "headway.objective.class"
TENANT: Final = "headway.tenant"
TAGS: Final = "headway.tags"
MODELS: Final = "headway.models"
BUDGET: Final = "headway.budget"
ENDPOINT: Final = "headway.decision.endpoint"
URGENCY: Final = "headway.decision.urgency"
SOURCE: Final = "headway.decision.source"
WHY: Final = "headway.decision.why"
HELD: Final = "headway.decision.held_s"
PREDICTED: Final = "headway.decision.predicted_output_tokens"
FORECAST: Final = "headway.forecast."
"""And a predictor with what is told of it: ``output_tokens.order``, ``confidence.error``..."""
LINK: Final = "headway.link"

WAIT_SPAN: Final = "headway.wait"
FEEDBACK_EVENT: Final = "headway.feedback"
FEEDBACK_OK: Final = "headway.feedback.ok"
RAISED_EVENT: Final = "headway.raised"

# Metrics of the conventions, with the buckets that they recommend.

INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
INFERENCE_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
USED_INPUT: Final = "gen_ai.client.inference.usage.input_tokens"
USED_CACHED: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
USED_OUTPUT: Final = "gen_ai.client.inference.usage.output_tokens"
EACH_INPUT: Final = "gen_ai.client.inference.operation.input_tokens"
EACH_OUTPUT: Final = "gen_ai.client.inference.operation.output_tokens"
WORKFLOW_DURATION: Final = "gen_ai.invoke_workflow.duration"
AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
AGENT_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
AGENT_TOOLS: Final = "gen_ai.invoke_agent.tool_calls"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"

# Our own.

WAIT_METRIC: Final = "headway.wait"
DECISIONS: Final = "headway.decisions"
PREDICTION: Final = "headway.prediction.output_tokens"

CALL_BUCKETS_S: Final = [0.01 * 2**power for power in range(14)]
AGENT_BUCKETS_S: Final = [0.1 * 2**power for power in range(13)]
WORKFLOW_BUCKETS_S: Final = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200]
TOKEN_BUCKETS: Final = [4**power for power in range(14)]
COUNT_BUCKETS: Final = [2**power for power in range(8)]
WAIT_BUCKETS_S: Final = [0.001, 0.01, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300]
RATIO_BUCKETS: Final = [0.125, 0.25, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 4, 8]
