"""What LiteLLM calls: the public hooks of a `CustomLogger`, each behind the wall.

`async_filter_deployments` is not among them: what it leaves, LiteLLM may still rule out (order,
tags, context length, fail-over), and callbacks after it too. The patch chooses from what is left.

Parameter names are the base class's, as LiteLLM passes many of them by keyword.
"""

from collections.abc import Mapping
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from headway.calling.guard import complaints
from headway_litellm.attempts import Attempts
from headway_litellm.escaped import Escaped


class HeadwayCallback(CustomLogger):
    """One per process. In a proxy: ``callbacks: ["headway_litellm.callback"]``."""

    def __init__(self, attempts: Attempts) -> None:
        super().__init__()
        self.escaped = Escaped(attempts)

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Cover a call whose function was imported before it was wrapped."""
        return await self.escaped.adecide(kwargs, str(getattr(call_type, "value", call_type)))

    async def async_post_call_success_deployment_hook(
        self, request_data: dict[str, Any], response: Any, call_type: Any
    ) -> None:
        """The end of such a call."""
        self.escaped.over(request_data, response)

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """The end of such a call."""
        self.escaped.over(request_data, exception)

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        """Count a call that none of our hooks has seen."""
        self.escaped.count(kwargs)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """In a proxy: who is calling (`proxy.identify`)."""
        try:
            from headway_litellm import proxy

            proxy.identify(data, user_api_key_dict, call_type)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm async_pre_call_hook", error)

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, Any] | None = None,
    ) -> dict[str, str] | None:
        """In a proxy: which model and endpoint answered (`proxy.answer_headers`)."""
        try:
            from headway_litellm import proxy

            return proxy.answer_headers(data, response, litellm_call_info=litellm_call_info)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm async_post_call_response_headers_hook", error)
            return None
