"""The same worlds under other hash seeds: not one byte of the command streams may differ."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from headway.policy import POLICIES

ROOT = Path(__file__).parents[2]


def streams(hash_seed: str) -> dict[str, str]:
    """Of each policy, the digest of all events and commands of a world, played in one process."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.support.world", *sorted(POLICIES)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        timeout=110,
        check=True,
    )
    found: dict[str, list[bytes]] = {}
    policy = ""
    for line in told.stdout.splitlines():
        if line.startswith(b"policy "):
            policy = line.removeprefix(b"policy ").decode()
        found.setdefault(policy, []).append(line)
    for name, lines in found.items():
        assert b"\n".join(lines).count(b'"command":"grant"') > 50, name
    return {name: sha256(b"\n".join(lines)).hexdigest() for name, lines in found.items()}


def test_the_hash_seed_decides_nothing() -> None:
    first, *others = (streams(seed) for seed in "012")
    assert list(first) == sorted(POLICIES)
    assert others == [first, first]
