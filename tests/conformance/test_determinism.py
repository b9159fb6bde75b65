"""The same world under other hash seeds: not one byte of the command stream may differ."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from headway.policy import POLICIES

ROOT = Path(__file__).parents[2]


def stream(policy: str, hash_seed: str) -> bytes:
    """All events and commands of a world played in its own process."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.support.world", policy, "5"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        timeout=50,
        check=True,
    )
    return told.stdout


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_hash_seed_decides_nothing(policy: str) -> None:
    first, *others = (stream(policy, seed) for seed in "012")
    assert first.count(b'"command":"grant"') > 50
    assert [sha256(other).hexdigest() for other in others] == [sha256(first).hexdigest()] * 2
