"""A request of the openai SDK on its way: what each of its attempts changes on the wire.

What is decided for one attempt must not stick to the next, which may go elsewhere; so
all of it is kept here, and forgotten when the next attempt begins.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headway.calling.apply import Rewrite, is_secret
from headway.calling.calls import Call
from headway.calling.guard import complaints
from headway.calling.identity import identity_headers
from headway.client import Scheduling
from headway.context import Scope
from headway.core.facts import CallReady
from headway.core.pool import EndpointSpec
from headway_langgraph.openai_requests import given


@dataclass(slots=True, eq=False, kw_only=True)
class Sending:
    """A request that we decide about. `headers` are set on the attempt's request; `home` is the
    only endpoint that can answer it, as it keeps what the request continues.
    """

    sdk: Any
    call: Call
    home: EndpointSpec | None = None
    foreign: bool = False
    authorization: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    _untouched: tuple[Any, ...] = ()

    def begin_attempt(self) -> None:
        """Forget what the attempt before has changed."""
        self.foreign, self.authorization = False, None
        self.headers, self._untouched = {}, ()

    def change(self, options: Any, change: Rewrite) -> None:
        """Put `change` on this attempt's options; what cannot stand there waits for `finish`."""
        untouched = (options.url, options.json_data, options.extra_json, options.headers)
        if change.foreign:
            headers = given(options.headers)
            headers = {name: value for name, value in headers.items() if not is_secret(name)}
            # The SDK insists on a credential, or on being told that there is to be none.
            headers["Authorization"] = change.authorization or _omit()
            options.headers = headers
        options.url = change.url
        options.json_data = change.json_data
        options.extra_json = change.extra_json
        self._untouched = untouched
        self.foreign, self.authorization = change.foreign, change.authorization
        self.headers = change.headers

    def finish(self, request: Any) -> None:
        """Set what the client and its HTTP client must not have the last word on."""
        if self.foreign:
            # The HTTP client below adds credentials of its own too.
            for name in [name for name in request.headers if is_secret(name)]:
                del request.headers[name]
            if self.authorization is not None:
                request.headers["Authorization"] = self.authorization
        for name, value in self.headers.items():
            request.headers[name] = value

    def undo(self, options: Any) -> bool:
        """Make the options the caller's again; False if they have not been changed."""
        if not self._untouched:
            return False
        options.url, options.json_data, options.extra_json, options.headers = self._untouched
        return True


@dataclass(slots=True, eq=False, kw_only=True)
class Forwarding:
    """A request to a gateway that decides by itself: it is only told who asks."""

    sdk: Any
    client: Scheduling
    scope: Scope
    ask: CallReady
    timeout_s: float | None

    def headers(self, attempt: int) -> dict[str, str]:
        """What the attempt's request carries."""
        ask = msgspec.structs.replace(self.ask, attempt=attempt)
        return {
            **self.client.watchers.headers(ask),
            **identity_headers(self.scope, attempt=attempt, timeout_s=self.timeout_s),
        }


current: ContextVar[Sending | Forwarding | None] = ContextVar("headway_sending", default=None)
"""The SDK's request around the current code, if it is one of ours."""


def sending_of(sdk: Any) -> Sending | None:
    """The request that `sdk` is making now, if we decide about it."""
    now = current.get()
    return now if isinstance(now, Sending) and now.sdk is sdk else None


def build(original: Any) -> Any:
    """The SDK's ``_build_request``, with the finished request put right."""

    def build_request(sdk: Any, options: Any, **kwargs: Any) -> Any:
        request = original(sdk, options, **kwargs)
        now = current.get()
        if now is None or now.sdk is not sdk:
            return request
        try:
            if isinstance(now, Sending):
                now.finish(request)
            else:
                attempt = int(kwargs.get("retries_taken", 0)) + 1
                for name, value in now.headers(attempt).items():
                    request.headers[name] = value
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("openai _build_request", error)
            if isinstance(now, Sending) and now.undo(options):
                # A key must not go to another host, so the request goes where it was meant to.
                return original(sdk, options, **kwargs)
        return request

    return build_request


def _omit() -> Any:
    from openai._types import Omit

    return Omit()
