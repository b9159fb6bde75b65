"""The processor time of `Scheduler.handle` alone: no socket, no journal.

A decision is two facts, `CallReady` and, later, `CallEnded`; both are counted.
`handle_cpu` is the case of `decision_p50`; `handle_cpu_queue_POLICY` has no free
seat and 100 calls waiting, so each end releases one of them.
"""

import time
from collections.abc import Callable

from headway.core.commands import Grant
from headway.core.facts import AnyFact, CallEnded, Event
from headway.core.scheduler import Scheduler
from headway.core.types import CallId, ClientId
from headway.policy import make_scheduler
from tests.bench.facts import IN_FLIGHT, call, live_runs, pool
from tests.bench.measure import Result, percentile, quartiles

WAITING = 100
BLOCKS = 20
POLICIES = ("fcfs+release", "headway")
CLIENT = ClientId("bench#1")
STEP_S = 0.0005
"""Virtual time between two facts, about what a busy daemon sees."""


class Driver:
    """Tells a scheduler of calls; each block keeps `in_flight` of them open."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._at = 1000.0
        self._number = 0
        self._ends: dict[CallId, CallEnded] = {}
        self._granted: list[CallId] = []
        for fact in live_runs():
            self._tell(fact)  # type: ignore[arg-type]

    def fill(self, calls: int) -> None:
        """Make `calls` calls ready without ending any."""
        for _ in range(calls):
            self._ready()

    def block(self, decisions: int) -> float:
        """Microseconds of processor time per decision, over as many calls made ready and ended."""
        spent = 0.0
        for _ in range(decisions):
            call_id = self._granted.pop(0)
            spent += self._tell(self._ends.pop(call_id))
            spent += self._ready()
        return spent / decisions * 1e6

    def _ready(self) -> float:
        ready, ended = call(self._number)
        self._number += 1
        self._ends[ready.call] = ended
        return self._tell(ready)

    def _tell(self, fact: AnyFact) -> float:
        self._at += STEP_S
        event = Event(at=self._at, fact=fact, client=CLIENT)
        began = time.thread_time()
        commands = self._scheduler.handle(event)
        spent = time.thread_time() - began
        self._granted += [one.call for one in commands if isinstance(one, Grant)]
        return spent


def _clock_cost_us() -> float:
    """What reading the clock twice costs by itself, in microseconds."""
    spent = []
    for _ in range(2000):
        began = time.thread_time()
        spent.append(time.thread_time() - began)
    return percentile(spent, 50) * 1e6


def _result(name: str, blocks: list[float], decisions: int, echo_p50_us: float) -> Result:
    value = percentile(blocks, 50)
    low, high = quartiles(blocks)
    return Result(
        name=name,
        value=value,
        unit="us",
        ratio_to="echo_p50",
        ratio=value / echo_p50_us,
        n=decisions * len(blocks),
        spread=(low / echo_p50_us, high / echo_p50_us),
    )


def _blocks(driver: Driver, decisions: int, step: Callable[[], None]) -> list[float]:
    driver.block(decisions)
    found = []
    clock_us = 2 * _clock_cost_us()
    for _ in range(BLOCKS):
        found.append(max(driver.block(decisions) - clock_us, 0.0))
        step()
    return found


def measure(*, decisions: int, echo_p50_us: float, step: Callable[[], None]) -> list[Result]:
    """Microseconds of processor time per decision; `decisions` per block of 20."""
    free = Driver(make_scheduler(pool(seats=64)))
    free.fill(IN_FLIGHT)
    results = [_result("handle_cpu", _blocks(free, decisions, step), decisions, echo_p50_us)]
    few = max(decisions // 5, 10)
    for policy in POLICIES:
        full = Driver(make_scheduler(pool(seats=5), policy=policy))
        full.fill(30 + WAITING)
        name = f"handle_cpu_queue_{policy}"
        results.append(_result(name, _blocks(full, few, step), few, echo_p50_us))
    return results
