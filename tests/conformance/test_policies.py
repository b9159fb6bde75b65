"""What every policy must keep to, whatever it decides."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from headway.core.endpoints import Endpoint
from headway.core.protocols import Release, Wait
from headway.core.types import RunId
from headway.core.view import View
from headway.policy import DEFAULT_POLICY, POLICIES, make_scheduler
from tests.support.telling import Teller, endpoint, granted, pool
from tests.support.world import World, three_endpoints

SEEDS_OF = {DEFAULT_POLICY: range(5), "fcfs+release": range(5), "least-busy": range(5)}
"""The others share their binding with one of these and differ by a rule: one seed is enough."""
EVERY = pytest.mark.parametrize("policy", sorted(POLICIES))
CASES = pytest.mark.parametrize(
    ("policy", "seed"),
    [(policy, seed) for policy in sorted(POLICIES) for seed in SEEDS_OF.get(policy, (1,))],
)


class Withholding:
    """Stands in for a policy while a queue is built up: releases nothing."""

    name = "withholding"
    binds_early = False

    def choose(self, view: View) -> Release | None:
        return None


def crowded(policy: str, seed: int) -> Teller:
    """A scheduler in the middle of a busy time, with nine calls waiting for `policy`."""
    rng = random.Random(f"crowd {seed}")
    world = World(make_scheduler(three_endpoints(), policy=policy, seed=seed), seed=seed, runs=12)
    world.play()
    told = Teller(world.scheduler)
    now = world.log[-1][0].at
    told.scheduler.policy, real = Withholding(), told.scheduler.policy
    for place in range(4):
        told.sent(f"busy{place}", rng.choice(["s1", "s2", "l1"]), run=f"b{place}")
    for place in range(9):
        told.ready(
            f"w{place}",
            at=now + place,
            run=f"run-w{place % 4}",
            graph=rng.choice(["coding", "research", "chat", "unseen"]),
            node_name=rng.choice(["write", "repair", "agent", "writer"]),
            visit=rng.randint(1, 3),
            prompt_chars=rng.randint(100, 20_000),
            models=rng.choice([(), (), ("small",), ("l1",)]),
            deadline_s=rng.choice([None, 10.0, 60.0]),
        )
    told.now = now + 10
    told.scheduler.policy = real
    return told


def told_of(release: Release | Wait | None) -> Any:
    if not isinstance(release, Release):
        return release
    call = release.call.key
    return call, release.endpoint, release.urgency, release.why, release.scores


def shown(view: View) -> Any:
    """All of a view that a policy could change, but for caches."""

    def endpoint_shown(one: Endpoint) -> dict[str, Any]:
        one.tokens_left(view.at)  # its books count up to now when asked, and only then
        names = set(one.__slots__) - {"kin", "mates"}  # other endpoints, shown by themselves
        return {name: repr(getattr(one, name)) for name in sorted(names) if name[0] != "_"}

    return (
        view.at,
        repr(view.waiting),
        {name: endpoint_shown(one) for name, one in view.endpoints.items()},
        repr(view.runs),
        {name: one.snapshot() for name, one in view.topologies.items()},
        view.foresight.snapshot(),
        view.pool,
    )


def every_choice(told: Teller, change: Callable[[View], View] = lambda view: view) -> list[Any]:
    """What is chosen until nothing more is, with `change` applied to each view."""
    policy, desk = told.scheduler.policy, told.scheduler._desk
    chosen = []
    while told.scheduler.books.waiting:
        release = policy.choose(change(told.scheduler.view(told.now)))
        if not isinstance(release, Release):
            chosen.append(release)
            break
        chosen.append(told_of(release))
        desk.grant(release.call, release, told.now)
    return chosen


@CASES
def test_same_seed_same_choices(policy: str, seed: int) -> None:
    choices = every_choice(crowded(policy, seed))
    assert choices == every_choice(crowded(policy, seed))
    assert choices[0] is not None


@CASES
def test_the_order_of_the_view_decides_nothing(policy: str, seed: int) -> None:
    rng = random.Random(seed)

    def shuffled(view: View) -> View:
        waiting = rng.sample(list(view.waiting), len(view.waiting))
        endpoints = list(view.endpoints.items())
        runs = list(view.runs.items())
        rng.shuffle(endpoints)
        rng.shuffle(runs)
        return View(
            at=view.at,
            pool=view.pool,
            waiting=tuple(waiting),
            endpoints=dict(endpoints),
            runs=dict(runs),
            topologies=view.topologies,
            foresight=view.foresight,
            seed=view.seed,
            books=view.books,
        )

    assert every_choice(crowded(policy, seed)) == every_choice(crowded(policy, seed), shuffled)


@CASES
def test_choosing_changes_nothing(policy: str, seed: int) -> None:
    told = crowded(policy, seed)
    view = told.scheduler.view(told.now)
    before = shown(view)
    first = told.scheduler.policy.choose(view)
    assert shown(view) == before
    again = told.scheduler.policy.choose(told.scheduler.view(told.now))
    assert told_of(first) == told_of(again)


@CASES
def test_only_candidates_and_never_over_capacity(policy: str, seed: int) -> None:
    told = crowded(policy, seed)
    real, scheduler = told.scheduler.policy, told.scheduler
    while scheduler.books.waiting:
        view = scheduler.view(told.now)
        release = real.choose(view)
        if not isinstance(release, Release):
            break
        assert release.call.key in scheduler.books.waiting
        chosen = view.endpoints[release.endpoint]
        assert chosen in view.candidates(release.call)
        if not real.binds_early:
            assert view.has_room(release.call, chosen)
        scheduler._desk.grant(release.call, release, told.now)


@CASES
def test_endpoints_that_are_down_are_not_chosen(policy: str, seed: int) -> None:
    told = crowded(policy, seed)
    told.endpoint("s1").reachable = False
    told.endpoint("l1").down_until = told.now + 5.0
    chosen = {choice[1] for choice in every_choice(told) if choice is not None}
    assert chosen <= {"s2"}


@CASES
def test_every_run_of_a_world_ends_and_no_seat_is_overbooked(policy: str, seed: int) -> None:
    scheduler = make_scheduler(three_endpoints(), policy=policy, seed=seed)
    overbooked = 0
    handle = scheduler.handle

    def watched(event: Any) -> Any:
        nonlocal overbooked
        commands = handle(event)
        for one in scheduler.endpoints.values():
            overbooked += len(one.loads) > (one.seats or 0)
        return commands

    scheduler.handle = watched  # type: ignore[method-assign]
    world = World(scheduler, seed=seed, runs=25, rate=6.0).play()
    assert len(world.done) == 25
    assert not scheduler.books.calls and not scheduler.books.runs
    assert all(not one.loads for one in scheduler.endpoints.values())
    assert scheduler.policy.binds_early or not overbooked


@EVERY
@pytest.mark.parametrize("kv_tokens", [None, 4000])
def test_nobody_starves_behind_a_steady_stream(policy: str, kv_tokens: int | None) -> None:
    """One call of a long run against two short ones a second, which fill two seats for ever."""
    told = Teller(pool(endpoint("a", seats=2, kv_tokens=kv_tokens)), policy=policy)
    open_calls: list[str] = []
    for place in range(600):
        at = place / 2
        fields = {"run": f"r{place}", "at": at, "max_tokens": 100}
        granted_now = granted(told.ready(f"c{place}", **fields))
        if place == 2:
            long = {"run": "long", "prompt_chars": 14_000, "run_age_s": 0.0}
            granted_now += granted(told.ready("long", at=at, **long))
        if place >= 2:
            oldest = open_calls.pop(0)
            granted_now += granted(told.ended(oldest, at=at + 0.25, output_tokens=100))
            told.run_ended(f"r{oldest[1:]}" if oldest != "long" else "long")
        open_calls += [call for call, _ in granted_now]
        if "long" in open_calls:
            return
    raise AssertionError(f"the long run's call still waits after {told.now} s")


@EVERY
def test_a_run_that_is_pinned_stays_pinned(policy: str) -> None:
    told = crowded(policy, 1)
    told.scheduler.policy, real = Withholding(), told.scheduler.policy
    told.ready("pinned", run=RunId("p"), models=("s2",), at=told.now)
    told.scheduler.policy = real
    for choice in every_choice(told):
        if choice is not None and choice[0][0] == "pinned":
            assert choice[1] == "s2"
