"""What an emulated server remembers of its last requests, for tests. No prompt, no secret."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

from headway.core.types import Seconds

KEPT = 2000
_TOLD = frozenset({"traceparent", "tracestate", "baggage", "x-request-id", "x-vllm-priority"})
_SECRET = ("authorization", "api-key", "x-api-key", "openai-organization", "cookie")


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request. Times are emulated seconds; None where it never came to that.

    `model` is the name that was asked for. `secrets` names the credentials that
    came with it, each with a fingerprint of its value (`fingerprint`).
    `outcome`: ``open``, ``ok``, ``cancelled``, ``error`` or the name of a fault.
    """

    endpoint: str
    model: str = ""
    path: str = ""
    priority: int = 0
    stream: bool = False
    keys: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    received_s: Seconds = 0.0
    first_token_s: Seconds | None = None
    ended_s: Seconds | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    status: int = 0
    outcome: str = "open"


def fingerprint(secret: str) -> str:
    """Eight hex digits that tell whether two secrets are the same, and nothing else."""
    return blake2b(secret.encode(), digest_size=4).hexdigest()


class RequestLog:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def open(self, *, endpoint: str, path: str, headers: Mapping[str, str], at: Seconds) -> Entry:
        """Begin an entry with what the headers say."""
        lowered = {name.lower(): value for name, value in headers.items()}
        entry = Entry(
            endpoint=endpoint,
            path=path,
            headers={
                name: value
                for name, value in sorted(lowered.items())
                if name in _TOLD or name.startswith("x-headway-")
            },
            secrets={name: fingerprint(lowered[name]) for name in _SECRET if name in lowered},
            received_s=at,
        )
        self._entries.append(entry)
        return entry

    def listing(self) -> list[dict[str, Any]]:
        """The entries as plain data."""
        return [asdict(entry) for entry in self._entries]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
