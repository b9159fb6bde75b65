"""Frequent facts on their way to the courier: left with one step, taken in batches.

Nodes start and end far more often than anything else happens, and who tells of it is
the user's program between two steps of its own. So that thread only leaves the fact
here; learning, encoding and sending wait for the courier's next tick, or for whatever
must not overtake these facts: any other fact, a decision, a close.
"""

from collections import deque
from collections.abc import Iterable
from typing import cast

import msgspec

from headway.client.once import Once
from headway.client.registry import Registry
from headway.client.sound import sound
from headway.core.errors import FrameError
from headway.core.facts import NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.types import Seconds
from headway.wire.messages import encode_frame

MAX_TOLD = 512
"""Facts that wait here at most; whoever tells one more takes them in himself."""
NEVER = float("inf")
AT_ONCE = float("-inf")

Frequent = NodeStarted | NodeEnded | RunStarted | RunEnded
FREQUENT = frozenset({NodeStarted, NodeEnded, RunStarted, RunEnded})


class Told:
    """Facts, each followed by the moment it was told at, oldest first.

    Anybody may append (both at once, with `extend`, so that pairs of several threads do
    not mix) without a lock; only who holds the client's lock takes.
    `attend_at` is from when on the next teller must see to it that somebody takes
    them: `NEVER` only while the courier's thread is sure to come by itself.
    """

    __slots__ = ("attend_at", "waiting")

    def __init__(self) -> None:
        # Flat, so that what waits is nothing for the garbage collector to look at.
        self.waiting: deque[Frequent | Seconds] = deque()
        self.attend_at: Seconds = AT_ONCE

    def take(self) -> list[tuple[Frequent, Seconds]]:
        """All that waits; if there is nothing, the next teller must attend again."""
        waiting = self.waiting
        if not waiting:
            # In this order: who saw `NEVER` has told before, and is seen below.
            self.attend_at = AT_ONCE
        batch = []
        while waiting:
            fact, told_at = waiting.popleft(), waiting.popleft()
            batch.append((cast("Frequent", fact), cast("Seconds", told_at)))
        return batch


def learn(batch: list[tuple[Frequent, Seconds]], registry: Registry, once: Once) -> list[Frequent]:
    """The facts of `batch`, made sound and noted in the registry; what cannot be is left out."""
    facts = []
    for fact, told_at in batch:
        try:
            # The others hold only what integrations make themselves.
            if type(fact) is RunStarted or (type(fact) is NodeStarted and fact.age_s):
                fact = sound(fact)
            registry.learn(fact, told_at)
        except FrameError as error:
            once.warn(f"frame {type(fact).__name__}", f"not told: {error}")
        except Exception:  # noqa: BLE001 -- the host's boundary
            once.failure(f"observe {type(fact).__name__}")
        else:
            facts.append(fact)
    return facts


def frames(facts: Iterable[msgspec.Struct], once: Once) -> list[bytes]:
    """Each fact as a frame; one that cannot be encoded is left out and named once."""
    encoded = []
    for fact in facts:
        try:
            encoded.append(encode_frame(fact))
        except (FrameError, ValueError, TypeError, OverflowError) as error:
            once.warn(f"frame {type(fact).__name__}", f"not told: {error}")
    return encoded
