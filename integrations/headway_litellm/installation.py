"""`install` and `uninstall`: putting Headway into LiteLLM, and taking it out again."""

import sys
from types import ModuleType
from typing import Any, TypeVar

from headway.calling.calls import get_calls
from headway.calling.guard import complaints, warn_once
from headway.calling.post_import import PostImport
from headway.client import get_client
from headway_litellm.attempts import Attempts
from headway_litellm.deployments import doubts
from headway_litellm.patches import LiteLLMPatch

R = TypeVar("R")

CALLBACK_LISTS = (
    *("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"),
    *("_async_input_callback", "_async_success_callback", "_async_failure_callback"),
)
"""LiteLLM copies a callback from the first list into the others when it is first used."""


class Installation:
    """What is installed in this process."""

    def __init__(self) -> None:
        self.attempts = Attempts(get_calls())
        self.patch = LiteLLMPatch(self.attempts)
        self._callback: Any = None
        self._waiting = PostImport("litellm", self._imported)

    def install(self, router: Any) -> None:
        """Patch LiteLLM, now or when it is first imported, and register the callback."""
        if router is not None:
            _check(router)
        litellm = sys.modules.get("litellm")
        if litellm is None:
            self._waiting.arm()
            return
        self._imported(litellm)
        if router is not None:
            for said in doubts(get_client().pool, router.get_model_list() or ()):
                warn_once(f"router {said}", "headway: %s", said)

    def uninstall(self) -> None:
        """Take the patches and the callback out."""
        self._waiting.disarm()
        self.patch.uninstall()
        litellm = sys.modules.get("litellm")
        for name in CALLBACK_LISTS if litellm is not None and self._callback is not None else ():
            entries = getattr(litellm, name, None)
            while isinstance(entries, list) and self._callback in entries:
                entries.remove(self._callback)

    def callback(self) -> Any:
        """The callback object, made once; LiteLLM is patched by the way."""
        import litellm

        self.patch.install(litellm)
        if self._callback is None:
            from headway_litellm.hooks import HeadwayCallback

            self._callback = HeadwayCallback(self.attempts)
        return self._callback

    def _imported(self, litellm: ModuleType) -> None:
        callback = self.callback()
        if callback not in litellm.callbacks:
            litellm.callbacks.append(callback)


_installation = Installation()


def install(router: R = None) -> R:  # type: ignore[assignment]
    """Schedule the calls that runs of scheduled graphs make through LiteLLM. Idempotent.

    `router` may be a `litellm.Router`, which is checked against the pool and returned as it
    is; calls through every other Router, and through litellm itself, are scheduled all the
    same. Raises `TypeError` for anything else.
    """
    try:
        _installation.install(router)
    except TypeError:
        raise
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("litellm install", error)
    return router


def uninstall() -> None:
    """Undo `install`. Idempotent."""
    try:
        _installation.uninstall()
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("litellm uninstall", error)


def make_callback() -> Any:
    """The process's callback object, for ``callbacks: ["headway_litellm.callback"]``."""
    return _installation.callback()


def _check(router: Any) -> None:
    litellm = sys.modules.get("litellm")
    if litellm is None or not isinstance(router, litellm.Router):
        raise TypeError(
            f"headway_litellm.install takes a litellm.Router (or nothing), "
            f"not {type(router).__module__}.{type(router).__qualname__}"
        )
