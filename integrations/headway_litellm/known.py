"""What the patches must find in LiteLLM before they change anything."""

import inspect
from types import ModuleType
from typing import Any

EXPECTED: dict[str, tuple[str, ...]] = {
    "Router.acompletion": ("self", "model", "messages"),
    "Router.completion": ("self", "model", "messages"),
    "Router.async_get_healthy_deployments": (
        *("self", "model", "request_kwargs", "messages", "input"),
    ),
    "Router.get_available_deployment": (
        *("self", "model", "messages", "input", "specific_deployment", "request_kwargs"),
    ),
    "Router._get_healthy_deployments": ("self", "model", "parent_otel_span"),
    "Router.atext_completion": ("self", "model", "prompt"),
    "acompletion": ("model", "messages"),
    "atext_completion": ("args", "kwargs"),
    "completion": ("model", "messages"),
    "acompletion_with_retries": ("args", "kwargs"),
    "completion_with_retries": ("args", "kwargs"),
}
"""The parameters that each function must begin with; anything else is another LiteLLM."""


def unknown_in(litellm: ModuleType) -> str:
    """What about `litellm` is not as the patches expect; empty if all is well."""
    for path, expected in EXPECTED.items():
        owner: Any = litellm
        for part in path.split(".")[:-1]:
            owner = getattr(owner, part, None)
        function = getattr(owner, path.rpartition(".")[2], None)
        if function is None:
            return f"no {path}"
        found = tuple(inspect.signature(function).parameters)
        if found[: len(expected)] != expected:
            return f"{path} takes {', '.join(found[: len(expected)])}"
        if inspect.iscoroutinefunction(function) != path.rpartition(".")[2].startswith("a"):
            return f"{path} is not what it was"
    return ""
