"""Calls whose function was imported (``from litellm import acompletion``) before it was wrapped.

LiteLLM's public hooks still see them: asynchronous ones that are not streamed can be decided
and followed from there; the others are counted.
"""

from collections.abc import Mapping
from typing import Any

from headway.calling.calls import Call, decided
from headway.calling.guard import complaints
from headway_litellm.attempts import Attempts, beginning
from headway_litellm.flights import flying
from headway_litellm.request import SDK_PROVIDERS, Kwargs, is_routers
from headway_litellm.streams import failed, follow, note

UNSEEN = "its function was imported before headway_litellm.install()"
KEPT = 4096


class Escaped:
    """Those calls, by LiteLLM's id of the call. The methods never raise."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self.open: dict[str, Call] = {}

    async def adecide(self, kwargs: Kwargs, call_type: str) -> Kwargs | None:
        """The arguments with which such a call goes out; None: it is not one, or passes."""
        try:
            if not self._is_one(kwargs) or call_type != "acompletion":
                return None
            if kwargs.get("stream") or kwargs.get("fallbacks") or "model" not in kwargs:
                return None  # nobody would tell its end, or its model cannot be changed
            flight = self._attempts.single(kwargs, is_async=True)
            if flight is None or flight.passes:
                return None
            route = await self._attempts.adecided(flight, kwargs)
            self.open[str(kwargs.get("litellm_call_id"))] = flight.call
            while len(self.open) > KEPT:
                del self.open[next(iter(self.open))]
            return self._attempts.settled(flight, kwargs, route)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm deployment hook", error)
            return None

    def over(self, request: Mapping[str, Any], end: Any) -> None:
        """The answer to such a call, or its error, is here."""
        call = self.open.pop(str(request.get("litellm_call_id")), None)
        if call is None:
            return
        if isinstance(end, BaseException):
            note("litellm deployment hook", failed, call, end)
        else:
            note("litellm deployment hook", follow, call, end)

    def count(self, details: Any) -> None:
        """LiteLLM sends a request: count it if nobody of ours knows of it."""
        try:
            self._count(details)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm log_pre_api_call", error)

    def _count(self, details: Any) -> None:
        params = details.get("litellm_params") or {}
        if not self._is_one(params):
            return
        if details.get("call_type") not in ("completion", "acompletion"):
            return
        if str(details.get("litellm_call_id")) in self.open:
            return
        begun = beginning()
        # What LiteLLM sends through the openai SDK is seen there.
        if begun is None or params.get("custom_llm_provider") in SDK_PROVIDERS:
            return
        url = (details.get("additional_args") or {}).get("api_base") or params.get("api_base")
        self._attempts.passed(begun[1], UNSEEN, str(url or "").removesuffix("/chat/completions"))

    def _is_one(self, kwargs: Mapping[str, Any]) -> bool:
        known = self._attempts.litellm is not None and not is_routers(kwargs)
        return known and flying.get() is None and decided.get() is None
