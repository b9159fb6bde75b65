"""Node facts on their way to the courier: told with one append, looked at in batches.

Nodes start and end far more often than anything else happens, and whoever tells of
it is the user's program between two steps of its own. So that thread only leaves the
fact here; learning, encoding and sending wait for the courier's next tick, or for
whatever must not overtake these facts: a decision, the end of a call or run, a close.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from headway.client.once import Once
from headway.core.errors import FrameError
from headway.core.facts import NodeEnded, NodeStarted
from headway.core.types import Seconds
from headway.wire.messages import encode_frame

MAX_TOLD = 1024
"""Facts that wait here at most; whoever tells one more takes them in himself."""
NEVER = float("inf")
AT_ONCE = float("-inf")

NodeFact = NodeStarted | NodeEnded


class Told:
    """Facts with the moments they were told at, oldest first.

    Anybody may append, without a lock; only who holds the client's lock takes.
    `attend_at` is from when on the next teller must see to it that somebody takes
    them: `NEVER` only while the courier's thread is sure to come by itself.
    """

    __slots__ = ("attend_at", "facts")

    def __init__(self) -> None:
        self.facts: deque[tuple[NodeFact, Seconds]] = deque()
        self.attend_at: Seconds = AT_ONCE

    def take(self) -> list[tuple[NodeFact, Seconds]]:
        """All that waits; if there is nothing, the next teller must attend again."""
        facts = self.facts
        if not facts:
            # In this order: who saw `NEVER` has appended before, and is seen below.
            self.attend_at = AT_ONCE
        batch = []
        while facts:
            batch.append(facts.popleft())
        return batch


def frames(facts: Iterable[msgspec.Struct], once: Once) -> list[bytes]:
    """Each fact as a frame; one that cannot be encoded is left out and named once."""
    encoded = []
    for fact in facts:
        try:
            encoded.append(encode_frame(fact))
        except (FrameError, ValueError, TypeError, OverflowError) as error:
            once.warn(f"frame {type(fact).__name__}", f"not told: {error}")
    return encoded
