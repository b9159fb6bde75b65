"""Records the golden journals: one world in virtual time for each of a few policies.

    python -m tests.golden.record [POLICY ...]

Run it when a change of decisions is meant, look at what it says of the first
decision that differs, and say why in the same commit.
"""

import sys
from pathlib import Path

from headway.policy import make_scheduler
from headway.wire.journal import (
    JOURNAL_FORMAT,
    Header,
    encode_entry,
    encode_record,
)
from tests.golden.replay import first_difference
from tests.support.world import World, three_endpoints

FOLDER = Path(__file__).parent
SEED = 20
RECORDED = ("fcfs", "fcfs+release", "headway", "least-busy")
"""Headway's own, and baselines of both bindings; the other baselines are worked by hand."""


def golden(policy: str) -> Path:
    """Where the journal of a policy lies."""
    return FOLDER / f"{policy}.golden"


def recorded(policy: str) -> bytes:
    """The journal of a world played now."""
    pool = three_endpoints()
    world = World(make_scheduler(pool, policy=policy, seed=SEED), seed=SEED, runs=18, rate=6.0)
    header = Header(format=JOURNAL_FORMAT, headway="golden", pool=pool, policy=policy, seed=SEED)
    entries = (encode_entry(event, commands) for event, commands in world.play().log)
    return encode_record(header) + b"".join(entries)


def main() -> None:
    """Write the journals of the policies named, or of all; say what changes."""
    for policy in sys.argv[1:] or RECORDED:
        path = golden(policy)
        if path.exists():
            print(f"{policy}: {first_difference(path) or 'decides as recorded'}")
        path.write_bytes(recorded(policy))


if __name__ == "__main__":
    main()
