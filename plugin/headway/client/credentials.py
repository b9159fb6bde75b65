"""Credentials of endpoints, resolved in the user's process; the daemon never sees one."""

import os

from headway.client.once import Once
from headway.core.pool import EndpointSpec

_PREFIX = "os.environ/"
_once = Once()


def api_key(spec: EndpointSpec) -> str | None:
    """The key that `spec.api_key` refers to; None if it needs none or it cannot be resolved.

    A reference that cannot be resolved is reported once, by the name of its
    variable; a key is never part of a message.
    """
    reference = spec.api_key
    if not reference:
        return None
    if not reference.startswith(_PREFIX):
        _once.warn(
            f"literal {spec.id}",
            f"endpoint {spec.id!r}: api_key must be a reference such as os.environ/NAME; "
            "calls go there without a credential",
        )
        return None
    name = reference.removeprefix(_PREFIX)
    key = os.environ.get(name)
    if key:
        return key
    _once.warn(
        f"unset {spec.id} {name}",
        f"endpoint {spec.id!r} takes its key from the environment variable {name}, which is not "
        "set in this process; calls go there without a credential. Set it where the agent runs.",
    )
    return None


def authorization(spec: EndpointSpec) -> str | None:
    """The value of the ``Authorization`` header for `spec`; None: send none."""
    key = api_key(spec)
    return None if key is None else f"Bearer {key}"
