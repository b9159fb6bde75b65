"""A replay decides as the daemon did, whatever came: sessions that end by themselves, refusals,
shadow mode, reloads, new files, and people who look on.
"""

import random
from pathlib import Path

import msgspec
import pytest

from headway.core.facts import FirstToken, ModeSet, PoolSet
from headway.core.runs import IMPLIED_RUN_TTL_S
from headway.core.types import CallId
from headway.daemon.replay import replay
from headway.policy import DEFAULT_POLICY, POLICIES
from tests.support.journals import Recording
from tests.support.telling import ALICE, BOB, endpoint, granted, pool, timer

CALLS = 400
CASES = [(policy, 0) for policy in sorted(POLICIES)] + [
    (policy, seed) for policy in (DEFAULT_POLICY, "fcfs+release", "least-busy") for seed in (1, 2)
]


class Unrest(Recording):
    """Draws what happens next; calls that run end in order, some of them badly."""

    def __init__(self, folder: Path, policy: str, seed: int) -> None:
        a, b = endpoint("a", seats=None, step_s=0.02), endpoint("b", "large", seats=2, step_s=0.05)
        self.full = pool(a, b)
        self.less = pool(a)
        self.drained = pool(a, msgspec.structs.replace(b, drain=True))
        super().__init__(folder, self.full, policy=policy)
        self.draw = random.Random(f"unrest {seed}")
        self.due: float | None = None
        self.over = 0

    def go(self) -> None:
        for number in range(CALLS):
            self.now += self.draw.expovariate(2.0)
            if self.draw.random() < 0.01:
                self.now += 2 * IMPLIED_RUN_TTL_S
            while self.due is not None and self.due <= self.now:
                self.due = timer(self.tick(self.due))
            self._ask(f"c{number}")
            self._end_some()
            self._meddle()
            self.scheduler.status(self.now + 0.001)
            self.scheduler.overview(self.now + 0.001)
            self.over = max(self.over, len(self.scheduler.ended_runs()))

    def _ask(self, call: str) -> None:
        client = self.draw.choice((ALICE, BOB))
        run = f"s{self.draw.randrange(6)}"
        told = self.ready(call, run=run, client=client, prompt_chars=self.draw.randrange(9000))
        self._keep(told)
        if self.scheduler.pool.mode == "shadow" or self.draw.random() < 0.1:
            to = self.draw.choice("ab")
            self._keep(self.sent(call, to, run=run, client=client))
        elif granted(told):
            self._keep(self.tell(FirstToken(call=CallId(call), attempt=1)))

    def _end_some(self) -> None:
        for call, attempt in list(self.asked)[:-4]:
            asked = self.asked.pop((call, attempt))
            error = self.draw.choice(("", "", "", "", "503", "429", "connect"))
            outcome = "error" if error else "ok"
            tokens = None if error else self.draw.randrange(1, 900)
            self._keep(
                self.ended(call, run=asked.run, outcome=outcome, error=error, output_tokens=tokens)
            )

    def _meddle(self) -> None:
        what = self.draw.randrange(60)
        if what < 3:
            self._keep(self.tell(ModeSet(mode=("on", "shadow", "on")[what])))
        elif what < 6:
            of = (self.full, self.less, self.drained)[what - 3].with_mode(self.scheduler.pool.mode)
            self._keep(self.tell(PoolSet(pool=of)))
        elif what == 6:
            self._keep(self.lost(self.draw.choice((ALICE, BOB))))
        elif what == 7:
            self._keep(self.run_ended(f"s{self.draw.randrange(6)}"))
        elif what == 8:
            self._keep(self.seen("a", running=3, waiting=1, reachable=self.draw.random() < 0.7))
        elif what == 9:
            self.rotate(at=self.now)
            self.due = self.now + 1.0

    def _keep(self, told: tuple[object, ...]) -> None:
        self.due = timer(told) or self.due  # type: ignore[arg-type]


@pytest.mark.parametrize(("policy", "seed"), CASES)
def test_a_replay_decides_the_same_in_all_unrest(tmp_path: Path, policy: str, seed: int) -> None:
    told = Unrest(tmp_path, policy, seed)
    told.go()
    assert len(told.paths) > 1 and told.over > 1
    for path in told.paths:
        found = replay(path)
        assert found.difference is None and found.cut_at is None
