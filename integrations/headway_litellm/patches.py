"""The one place where LiteLLM is patched: where its calls begin and end, and where it chooses.

* `Router.acompletion`, `atext_completion`, `completion`: a call begins and ends.
* `Router.async_get_healthy_deployments`: an attempt's final list, after cooldowns, budgets, tags,
  orders and other people's hooks; `Router.get_available_deployment`: the synchronous one.
* `litellm.acompletion`, `atext_completion`, `completion`: an attempt goes out and ends, with or
  without a Router; the two `…_with_retries`: LiteLLM's own retries of calls without one.
* `run_async_function`, which loses context variables under a running loop.

Idempotent, reversible, checked before anything is changed, and inert outside a run.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

from headway.calling.calls import decided
from headway.calling.guard import warn_once
from headway.context import scope as current_scope
from headway_litellm.attempts import Attempts
from headway_litellm.flights import Flight, flying
from headway_litellm.known import EXPECTED, unknown_in
from headway_litellm.request import Kwargs, is_routers, named
from headway_litellm.streams import carry, failed, follow, note

CARRIERS = ("litellm.router", "litellm.litellm_core_utils.fallback_utils")


class LiteLLMPatch:
    """Installs and removes the wraps. One per process."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._originals: list[tuple[Any, str, Any]] = []
        self.problem = ""

    @property
    def installed(self) -> bool:
        """Whether LiteLLM is patched now."""
        return bool(self._originals)

    def install(self, litellm: ModuleType) -> bool:
        """Patch `litellm` once; False, with a warning, if it is unknown."""
        if self._originals:
            return True
        self.problem = unknown_in(litellm)
        if self.problem:
            warn_once(
                "litellm patch",
                "headway: this LiteLLM is not known (%s); its calls pass untouched",
                self.problem,
            )
            return False
        self._attempts.litellm = litellm
        router: Any = litellm.Router
        self._wrap(router, "acompletion", self._router_acompletion)
        self._wrap(router, "atext_completion", self._router_atext_completion)
        self._wrap(router, "completion", self._router_completion)
        self._wrap(router, "async_get_healthy_deployments", self._healthy)
        self._wrap(router, "get_available_deployment", self._available)
        self._wrap(litellm, "acompletion", self._acompletion)
        self._wrap(litellm, "atext_completion", self._atext_completion)
        self._wrap(litellm, "completion", self._completion)
        self._wrap(litellm, "acompletion_with_retries", self._aretries)
        self._wrap(litellm, "completion_with_retries", self._retries)
        for name in CARRIERS:
            module = sys.modules.get(name)
            if module is not None and inspect.isfunction(getattr(module, _CARRIED, None)):
                self._wrap(module, _CARRIED, _carrying)
        return True

    def uninstall(self) -> None:
        """Put LiteLLM's own functions back."""
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)
        # Who has taken one of our functions out of LiteLLM keeps it.
        self._attempts.litellm = None

    def _wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        self._originals.append((owner, name, original))
        setattr(owner, name, functools.wraps(original)(make(original)))

    # A Router's call begins and ends

    def _router_acompletion(self, original: Any) -> Any:
        async def acompletion(router: Any, *args: Any, **kwargs: Any) -> Any:
            if current_scope.get() is None:
                return await original(router, *args, **kwargs)
            flight = self._attempts.group(router, named(args, kwargs), is_async=True)
            return await _flown(flight, original(router, *args, **kwargs))

        return acompletion

    def _router_atext_completion(self, original: Any) -> Any:
        async def atext_completion(router: Any, *args: Any, **kwargs: Any) -> Any:
            if current_scope.get() is None:
                return await original(router, *args, **kwargs)
            said = named(args, kwargs, ("model", "prompt"))
            flight = self._attempts.group(router, said, is_async=True)
            return await _flown(flight, original(router, *args, **kwargs))

        return atext_completion

    def _router_completion(self, original: Any) -> Any:
        def completion(router: Any, *args: Any, **kwargs: Any) -> Any:
            if current_scope.get() is None:
                return original(router, *args, **kwargs)
            flight = self._attempts.group(router, named(args, kwargs), is_async=False)
            outer = flying.get()
            flying.set(flight)
            try:
                response = original(router, *args, **kwargs)
            except BaseException as error:
                _given_up(flight, error)
                raise
            finally:
                flying.set(outer)
            _given(flight, response)
            return response

        return completion

    # A Router chooses

    def _healthy(self, original: Any) -> Any:
        async def async_get_healthy_deployments(router: Any, *args: Any, **kwargs: Any) -> Any:
            found = await original(router, *args, **kwargs)
            if flying.get() is None:
                return found
            said = named(args, kwargs, _HEALTHY_NAMES)
            if said.get("input") is not None:
                return found  # an embedding that others want for this call
            return await self._attempts.achoose(
                said.get("model") or "", found, said.get("request_kwargs")
            )

        return async_get_healthy_deployments

    def _available(self, original: Any) -> Any:
        names = EXPECTED["Router.get_available_deployment"][1:]

        def get_available_deployment(router: Any, *args: Any, **kwargs: Any) -> Any:
            said = named(args, kwargs, names)
            request = said.get("request_kwargs")
            own = flying.get() is not None and said.get("input") is None
            if not own or not isinstance(request, dict):
                return original(router, *args, **kwargs)
            before = {name: request[name] for name in _EXCLUDING if name in request}
            note("litellm Router choice", self._narrow, router, said, request)
            if before.get(_EXCLUDED) == request.get(_EXCLUDED):
                return original(router, **said)
            try:
                return original(router, **said)
            except Exception:  # noqa: BLE001 - LiteLLM's own checks may rule our choice out
                request.pop(_EXCLUDED, None)
                request.update(before)
                return original(router, **said)

        return get_available_deployment

    def _narrow(self, router: Any, said: Kwargs, request: Kwargs) -> None:
        """Have LiteLLM choose with all but our choice excluded, as after its own fail-over."""
        from litellm.utils import (
            get_excluded_filtered_deployments,
            get_order_filtered_deployments,
        )

        model = str(said["model"])
        found: Any = {}  # one deployment by its id: there is nothing to choose
        if not said.get("specific_deployment") and not router.has_model_id(model):
            healthy = router._get_healthy_deployments(model=model, parent_otel_span=None)
            found = healthy[0] if isinstance(healthy, tuple) else {}
            found = get_order_filtered_deployments(found, target_order=request.get("_target_order"))
            for name in (_EXCLUDED, "_retry_skipped_deployment_ids"):
                found = get_excluded_filtered_deployments(found, request.get(name)) or found
        chosen = self._attempts.choose(model, found, request)
        if chosen is found or len(chosen) != 1:
            return
        own = chosen[0]["model_info"]["id"]
        others = [one["model_info"]["id"] for one in found if one["model_info"]["id"] != own]
        request[_EXCLUDED] = [*(request.get(_EXCLUDED) or ()), *others]

    # An attempt goes out and ends

    def _acompletion(self, original: Any) -> Any:
        names = tuple(inspect.signature(original).parameters)

        async def acompletion(*args: Any, **kwargs: Any) -> Any:
            if current_scope.get() is None:
                return await original(*args, **kwargs)
            flight = self._attempts.single(named(args, kwargs, names), is_async=True)
            if flight is None:
                return await original(*args, **kwargs)
            outer = flying.get()
            flying.set(flight)
            try:
                if flight.group and flight.router is None:
                    return await original(*args, **kwargs)
                return await self._aattempt(flight, named(args, kwargs, names), original)
            finally:
                flying.set(outer)

        return acompletion

    def _atext_completion(self, original: Any) -> Any:
        async def atext_completion(*args: Any, **kwargs: Any) -> Any:
            flight = flying.get()
            if flight is None or flight.router is None or not is_routers(kwargs):
                return await original(*args, **kwargs)
            return await self._aattempt(flight, kwargs, functools.partial(original, *args))

        return atext_completion

    async def _aattempt(self, flight: Flight, kwargs: Kwargs, original: Any) -> Any:
        call, outer = flight.call, decided.get()
        number = call.attempt
        try:
            route = await self._attempts.adecided(flight, kwargs)
            changed = self._attempts.settled(flight, kwargs, route)
            number = call.attempt
            decided.set(call)
            response = await original(**changed)
        except BaseException as error:
            if call.attempt == number:
                note("litellm end", failed, call, error)
            raise
        finally:
            decided.set(outer)
        if call.attempt == number:
            note("litellm answer", follow, call, response)
        return response

    def _completion(self, original: Any) -> Any:
        names = tuple(inspect.signature(original).parameters)

        def completion(*args: Any, **kwargs: Any) -> Any:
            if current_scope.get() is None:
                return original(*args, **kwargs)
            flight = self._attempts.single(named(args, kwargs, names), is_async=False)
            if flight is None:
                return original(*args, **kwargs)
            outer = flying.get()
            flying.set(flight)
            try:
                if flight.group and flight.router is None:
                    return original(*args, **kwargs)
                return self._attempt(flight, named(args, kwargs, names), original)
            finally:
                flying.set(outer)

        return completion

    def _attempt(self, flight: Flight, kwargs: Kwargs, original: Any) -> Any:
        call, outer = flight.call, decided.get()
        number = call.attempt
        try:
            route = self._attempts.decided(flight, kwargs)
            changed = self._attempts.settled(flight, kwargs, route)
            number = call.attempt
            decided.set(call)
            response = original(**changed)
        except BaseException as error:
            if call.attempt == number:
                note("litellm end", failed, call, error)
            raise
        finally:
            decided.set(outer)
        if call.attempt == number:
            note("litellm answer", follow, call, response)
        return response

    # LiteLLM's own retries of a call without a Router

    def _aretries(self, original: Any) -> Any:
        async def acompletion_with_retries(*args: Any, **kwargs: Any) -> Any:
            flight, function = flying.get(), kwargs.get("original_function")
            if flight is None or function is None or not self._is_retry(flight, args, kwargs):
                return await original(*args, **kwargs)
            _attempt_failed(flight)

            async def attempt(*args: Any, **kwargs: Any) -> Any:
                retry = self._attempts.again(flight, named(args, kwargs))
                return await self._aattempt(flight, retry, function)

            return await original(*args, **{**kwargs, "original_function": attempt})

        return acompletion_with_retries

    def _is_retry(self, flight: Flight, args: tuple[Any, ...], kwargs: Kwargs) -> bool:
        return not flight.group and self._attempts.is_retry(flight, named(args, kwargs))

    def _retries(self, original: Any) -> Any:
        def completion_with_retries(*args: Any, **kwargs: Any) -> Any:
            flight = flying.get()
            if flight is None or not self._is_retry(flight, args, kwargs):
                return original(*args, **kwargs)
            function = kwargs.get("original_function") or _unwrapped("completion")
            _attempt_failed(flight)

            def attempt(*args: Any, **kwargs: Any) -> Any:
                retry = self._attempts.again(flight, named(args, kwargs))
                return self._attempt(flight, retry, function)

            return original(*args, **{**kwargs, "original_function": attempt})

        return completion_with_retries


_CARRIED = "run_async_function"
_HEALTHY_NAMES = EXPECTED["Router.async_get_healthy_deployments"][1:]
_EXCLUDED = "_excluded_deployment_ids"
_EXCLUDING = (_EXCLUDED, "_target_order", "_retry_skipped_deployment_ids")


async def _flown(flight: Flight | None, course: Coroutine[Any, Any, Any]) -> Any:
    """What the Router does for its caller, with its attempts known as this call's or nobody's."""
    outer = flying.get()
    flying.set(flight)
    try:
        response = await course
    except BaseException as error:
        _given_up(flight, error)
        raise
    finally:
        flying.set(outer)
    _given(flight, response)
    return response


def _given(flight: Flight | None, response: Any) -> None:
    if flight is not None:
        note("litellm Router stream", carry, flying, flight, response)


def _given_up(flight: Flight | None, error: BaseException) -> None:
    if flight is not None:
        note("litellm Router end", failed, flight.call, error)


def _carrying(original: Any) -> Any:
    def run_async_function(async_function: Any, *args: Any, **kwargs: Any) -> Any:
        here = current_scope.get()
        if here is None:
            return original(async_function, *args, **kwargs)
        flight, mark = flying.get(), decided.get()

        @functools.wraps(async_function)
        async def carried(*args: Any, **kwargs: Any) -> Any:
            # Perhaps in another thread, with an empty context.
            current_scope.set(here)
            flying.set(flight)
            decided.set(mark)
            return await async_function(*args, **kwargs)

        return original(carried, *args, **kwargs)

    return run_async_function


def _attempt_failed(flight: Flight) -> None:
    """LiteLLM goes on to a retry from within its handling of the error."""
    error = sys.exc_info()[1]
    if error is not None:
        note("litellm retry", failed, flight.call, error)


def _unwrapped(name: str) -> Any:
    return getattr(sys.modules["litellm.main"], name)
