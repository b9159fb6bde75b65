"""Headway for LiteLLM: calls through a Router, its proxy or litellm itself are scheduled.

Public: `install`, `uninstall`, and `callback` (for ``callbacks:`` in a proxy's configuration).
Importing this does not import litellm.
"""

from typing import TYPE_CHECKING, Any

from headway_litellm.installation import install, make_callback, uninstall

if TYPE_CHECKING:
    callback: Any

__all__ = ["install", "uninstall"]


def __getattr__(name: str) -> Any:
    # No module here may have this name: importing it would put it in the callback's place.
    # Made when it is first asked for: whoever names it has litellm, and wants all of this.
    if name == "callback":
        return make_callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
