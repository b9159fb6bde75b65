"""An OpenAI-compatible server that emulates inference engines, with vLLM's metrics and timing.

``headway emulate POOL`` serves a pool file. In programs: ``async with
EmulatedPool(config) as pool`` or ``with running(config) as pool``, then
``pool.urls``. Under each URL there are ``/chat/completions``, ``/completions``,
``/responses`` and ``/models``; at the root ``/health``, ``/metrics`` and, for tests,
``/_emulate/*``. The Responses API has no memory here: what needs a stored response
(``previous_response_id``, ``conversation``, ``background``) is refused.

Users' own answers implement `Answers`.
"""

from headway.emulate.answers import Answer, Answers, ChatRequest, FillerAnswers, ToolCall
from headway.emulate.config import EmulateConfig, EmulatedSpec, load_config, parse_config
from headway.emulate.server import EmulatedPool, RunningPool, running
from headway.emulate.skill import chance, output_tokens, succeeds

__all__ = [
    "Answer",
    "Answers",
    "ChatRequest",
    "EmulateConfig",
    "EmulatedPool",
    "EmulatedSpec",
    "FillerAnswers",
    "RunningPool",
    "ToolCall",
    "chance",
    "load_config",
    "output_tokens",
    "parse_config",
    "running",
    "succeeds",
]
