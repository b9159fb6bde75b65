"""Arrivals: when the runs of a cell come, in seconds from its start.

One seeded draw is shared by all policies. Renewal processes have the asked rate
on average; whatever comes from a recording is stretched to have it exactly, as
its shape, not its speed, is what was recorded. Recordings are handed in by the
caller; nothing is read here.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import Protocol

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.core.types import Seconds

SERVICES = ("code", "conv")
WINDOW_S = 600.0
"""ServeGen's windows are ten minutes long."""

CV_RANGE = (0.05, 100.0)
_USES: dict[str, tuple[str, ...]] = {
    "poisson": (),
    "gamma": ("cv",),
    "weibull": ("cv",),
    "burst": ("burst_runs", "burst_rate"),
    "recorded": (),
    "azure": ("service",),
    "servegen": ("clients",),
    "spaced": (),
}

Window = tuple[Seconds, float, float, str, float, float]
"""(start, requests/s, CV of gaps, ``G`` gamma or ``W`` Weibull, shape, scale) of a client."""


class Client(Protocol):
    """One client of ServeGen: its active windows."""

    @property
    def id(self) -> str:
        """Its name in the recording."""
        ...

    @property
    def windows(self) -> Sequence[Window]:
        """Its active windows, by start."""
        ...


class Arrivals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An arrival process. Raises `ConfigError` naming the field that is wrong or unused.

    ``poisson``   exponential gaps;
    ``gamma``, ``weibull``  gaps with coefficient of variation `cv` (> 1: bursts);
    ``burst``     `burst_runs` at once (0: all runs, then drain) at even gaps of
                  1/`burst_rate` (0: the asked rate), silence in between (HexAGenT's loads);
    ``recorded``  the trace's own instants;
    ``azure``     the instants of an Azure service (`service`: code or conv), from a random start;
    ``servegen``  `clients` of ServeGen, drawn by how much they ask, merged;
    ``spaced``    even gaps of 1/rate: with a rate below 1/(longest run) nobody ever waits.
    """

    kind: str = "poisson"
    cv: float = 0.0
    burst_runs: int = 0
    burst_rate: float = 0.0
    service: str = ""
    clients: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _USES:
            raise ConfigError(f"arrivals.kind: no {self.kind!r}{nearest(self.kind, _USES)}")
        uses = _USES[self.kind]
        for field in ("cv", "burst_runs", "burst_rate", "service", "clients"):
            if getattr(self, field) and field not in uses:
                raise ConfigError(f"arrivals.{field}: means nothing for kind {self.kind!r}")
        low, high = CV_RANGE
        if "cv" in uses and not low <= self.cv <= high:
            raise ConfigError(f"arrivals.cv: from {low:g} to {high:g}, not {self.cv:g}")
        if self.burst_runs < 0:
            raise ConfigError(f"arrivals.burst_runs: 0 (all) or more, not {self.burst_runs}")
        if not 0.0 <= self.burst_rate < math.inf:
            raise ConfigError(f"arrivals.burst_rate: 0 (as asked) or more, not {self.burst_rate:g}")
        if self.burst_runs and not self.burst_rate:
            raise ConfigError("arrivals.burst_rate: runs/s inside a burst, needed with burst_runs")
        if "service" in uses and self.service not in SERVICES:
            hint = nearest(self.service, SERVICES)
            raise ConfigError(f"arrivals.service: no {self.service!r}{hint}")
        if "clients" in uses and self.clients < 1:
            raise ConfigError(f"arrivals.clients: 1 or more, not {self.clients}")


def draw(
    arrivals: Arrivals,
    *,
    count: int,
    rate: float,
    seed: int,
    instants: Sequence[Seconds] = (),
    clients: Sequence[Client] = (),
) -> tuple[Seconds, ...]:
    """`count` instants in order, from 0 on, at `rate` runs/s on average.

    `instants` are those of the trace (``recorded``) or of the service (``azure``), `clients`
    those of ServeGen. ``recorded`` keeps the trace's order from its first run, so the nth instant
    is the nth arrival's. Raises `ConfigError` for a count, a rate or a recording of no use.
    """
    if count < 1:
        raise ConfigError(f"count: at least 1 run, not {count}")
    if not 0.0 < rate < math.inf:
        raise ConfigError(f"rate: more than 0 runs/s, not {rate:g}")
    rng = Random(f"arrivals/{arrivals.kind}/{seed}")
    match arrivals.kind:
        case "poisson":
            return tuple(accumulate(rng.expovariate(rate) for _ in range(count)))
        case "gamma" | "weibull":
            gaps = _gaps(rng, arrivals.kind, _shape(arrivals), count)
            return tuple(at / rate for at in accumulate(gaps))
        case "spaced":
            return tuple(place / rate for place in range(count))
        case "burst":
            return _bursts(arrivals, count, rate)
        case "recorded":
            whole = _spread(_checked(instants, "instants of the trace"), rng)
            return _stretched(_from(whole, 0, count), rate)
        case "azure":
            whole = _checked(instants, f"instants of Azure's {arrivals.service}")
            return _stretched(_from(whole, rng.randrange(len(whole)), count), rate)
        case _:  # servegen, the last one that an `Arrivals` can be
            chosen = _chosen(clients, arrivals.clients, rng)
            return _stretched(_windows(chosen, count, rng), rate)


def weibull_shape(cv: float) -> float:
    """The shape of the Weibull law whose coefficient of variation is `cv` (falling in shape)."""
    low, high = math.log(0.05), math.log(100.0)
    for _ in range(60):
        middle = (low + high) / 2.0
        shape = math.exp(middle)
        ratio = math.lgamma(1.0 + 2.0 / shape) - 2.0 * math.lgamma(1.0 + 1.0 / shape)
        if math.sqrt(math.expm1(ratio)) > cv:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2.0)


def _shape(arrivals: Arrivals) -> float:
    return weibull_shape(arrivals.cv) if arrivals.kind == "weibull" else arrivals.cv**-2.0


def _gaps(rng: Random, law: str, shape: float, count: int) -> list[float]:
    """`count` gaps of mean 1."""
    if law == "gamma":
        return [rng.gammavariate(shape, 1.0 / shape) for _ in range(count)]
    scale = math.exp(-math.lgamma(1.0 + 1.0 / shape))
    return [rng.weibullvariate(scale, shape) for _ in range(count)]


def _bursts(arrivals: Arrivals, count: int, rate: float) -> tuple[Seconds, ...]:
    size = arrivals.burst_runs or count
    inside = arrivals.burst_rate or rate
    if size < count and inside < rate:
        raise ConfigError(f"arrivals.burst_rate: {inside:g} runs/s cannot keep up with {rate:g}")
    return tuple(place // size * size / rate + place % size / inside for place in range(count))


def _checked(instants: Sequence[Seconds], what: str) -> list[Seconds]:
    found = sorted(instants)
    if not found:
        raise ConfigError(f"arrivals: the {what} are needed, and there are none")
    if not (math.isfinite(found[0]) and math.isfinite(found[-1])):
        raise ConfigError(f"arrivals: the {what} are not all finite")
    return found


def _spread(instants: list[Seconds], rng: Random) -> list[Seconds]:
    """Batches of equal instants drawn apart, up to the next one but no wider than is usual.

    Mooncake's clock ticks every 3 s or so; taken as it is, every tick would be a burst.
    """
    ticks = sorted(set(instants))
    if len(ticks) < 2:
        return instants
    usual = statistics.median(later - sooner for sooner, later in pairwise(ticks))
    width = {sooner: min(later - sooner, usual) for sooner, later in pairwise(ticks)}
    seen: set[Seconds] = set()
    spread = []
    for at in instants:
        # the first of a batch stays: an instant of its own is not moved
        spread.append(at + rng.random() * width.get(at, usual) if at in seen else at)
        seen.add(at)
    return sorted(spread)


def _from(instants: list[Seconds], start: int, count: int) -> list[Seconds]:
    """`count` instants from the `start`-th on; the recording repeats after a mean gap."""
    length = instants[-1] - instants[0]
    period = length + length / max(len(instants) - 1, 1)
    places = range(start, start + count)
    return [instants[place % len(instants)] + place // len(instants) * period for place in places]


def _stretched(instants: list[Seconds], rate: float) -> tuple[Seconds, ...]:
    """The same shape from 0 on, with `rate` instants a second."""
    first, length = instants[0], instants[-1] - instants[0]
    if len(instants) == 1:
        return (0.0,)
    if length <= 0.0:
        raise ConfigError(f"arrivals: all {len(instants)} recorded instants are the same")
    factor = (len(instants) - 1) / rate / length
    return tuple((at - first) * factor for at in instants)


def _requests(window: Window) -> float:
    return window[1] * WINDOW_S


def _chosen(clients: Sequence[Client], count: int, rng: Random) -> list[Client]:
    """`count` different clients, each drawn by how many requests it made."""
    left = sorted((one for one in clients if one.windows), key=lambda one: one.id)
    if len(left) < count:
        raise ConfigError(f"arrivals.clients: {count} asked for, the recording has {len(left)}")
    chosen = []
    for _ in range(count):
        weights = [math.fsum(map(_requests, one.windows)) for one in left]
        if not 0.0 < math.fsum(weights) < math.inf:
            raise ConfigError("arrivals.clients: their windows hold no requests")
        chosen.append(left.pop(rng.choices(range(len(left)), weights)[0]))
    return chosen


def _windows(clients: list[Client], count: int, rng: Random) -> list[Seconds]:
    """`count` instants of the merged clients, window after window from a random one on.

    A window gets as many requests as it had, its gaps drawn by its law and stretched to fill
    it: a law fitted to a few requests seldom agrees with the window's rate. Windows in which no
    client was active are left out; they would drown all others in silence.
    """
    by_start: dict[Seconds, list[Window]] = {}
    for client in clients:
        for window in client.windows:
            by_start.setdefault(window[0], []).append(window)
    starts = sorted(by_start)
    place = rng.randrange(len(starts))
    instants: list[Seconds] = []
    base = 0.0
    while len(instants) < count:
        inside: list[Seconds] = []
        for window in by_start[starts[place % len(starts)]]:
            inside += _inside(window, rng)
        instants += sorted(base + at for at in inside)
        base += WINDOW_S
        place += 1
    return instants[:count]


def _inside(window: Window, rng: Random) -> list[Seconds]:
    """Instants of one client in one window, in seconds from its start."""
    _, _, _, family, shape, _ = window
    number = max(int(_requests(window) + rng.random()), 1)
    law = {"G": "gamma", "W": "weibull"}.get(family)
    if law is None or not 0.0 < shape < math.inf:
        raise ConfigError(f"arrivals: no gap law {family!r} with shape {shape} (G or W, above 0)")
    ends = list(accumulate(_gaps(rng, law, shape, number)))
    if ends[-1] <= 0.0:  # a shape so small that all gaps vanish
        return [rng.random() * WINDOW_S] * number
    turn = rng.random()  # where the window cuts the stream must not be an arrival
    return [(at / ends[-1] + turn) % 1.0 * WINDOW_S for at in ends]
