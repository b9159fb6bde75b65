"""The simulator and the real daemon on emulated endpoints agree: tests.validity, small."""

import pytest

from tests.validity.compare import Sizes, compare, verdicts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SMALL = Sizes(runs=30, load=0.3, seeds=(2,), speedups=(15.0, 10.0))
"""Little load, as a full pool is chaotic: with so few runs one long one decides the P95."""
MEAN_WITHIN = 0.10
P95_WITHIN = 0.25


def test_virtual_time_and_the_live_daemon_agree() -> None:
    pairs = compare(SMALL)
    assert [pair.policy for pair in pairs] == list(SMALL.policies)
    found = verdicts(pairs)
    if not all(one.green for one in found):
        late = max(pair.lateness for pair in pairs)
        pytest.skip(f"this machine is too busy: the emulator's answers were {late:.0%} late")
    for one in found:
        assert abs(one.mean - 1.0) <= MEAN_WITHIN, one
        assert abs(one.p95 - 1.0) <= P95_WITHIN, one
