"""What the scheduler believes of an endpoint: speed, load, room, health.

The load is what was released and not seen closed, always; what a scrape says
lags by seconds and only corrects for foreign traffic, sizes and health.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from headway.core.calls import CallKey
from headway.core.facts import EndpointSeen
from headway.core.inflight import InFlight, Load
from headway.core.pool import EndpointSpec, Profile
from headway.core.types import EndpointId, Seconds

DEFAULT_PROFILE = Profile()
SPEED_WEIGHT = 0.1
SPEED_RANGE = (0.05, 20.0)
FAULTS_BEFORE_DOWN = 2
LOOKS_OF_A_LIMIT = 3
KV_FULL = 0.9
ROOM_RAISED_AFTER = 20
DOWN_FIRST_S = 1.0
DOWN_LONGEST_S = 30.0
LATENCIES_KEPT = 10
"""As LiteLLM's latency-based routing keeps."""


@dataclass(slots=True)
class PrefillLine:
    """The prompts that a prefill server still has to compute: it is through with them at `free_at`.

    Shared by all pairs of that server (HexAGenT's virtual resource, arXiv 2605.16637).
    """

    free_at: Seconds = 0.0


def relate(endpoints: Collection["Endpoint"]) -> None:
    """Let endpoints that name the same server share its load, and those that are declared alike
    lend their speed to the ones among them that were never tried.
    """
    by_server: dict[str, list[Endpoint]] = {}
    lines: dict[str, PrefillLine] = {}
    alike: dict[tuple[str, str, Profile], list[Endpoint]] = {}
    for one in endpoints:
        alike.setdefault((one.spec.model, one.spec.engine, one.profile), []).append(one)
        if one.spec.server:
            by_server.setdefault(one.spec.server, []).append(one)
        one.inflight = InFlight()
        if prefills := one.spec.prefill_server:
            one.prefills = lines.setdefault(prefills, one.prefills or PrefillLine())
    for together in by_server.values():
        for one in together:
            one.inflight = together[0].inflight
    for one in endpoints:
        for key, load in one.loads.items():
            one.inflight.add(key, load, one.room)
    for family in alike.values():
        tried = max(family, key=lambda one: one.speed_samples)
        for one in family:
            one.kin = [other for other in family if other is not one]
        tried.lend_speed()


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """Belief about one endpoint. Changed only by the scheduler.

    `loads` are its own calls; `inflight` holds those of all endpoints on its server, which take
    its seats, its KV and its steps alike (the same object for all of them). `ceiling` is how
    many calls it held when it last turned one away for want of room. One that is `leaving` is
    no longer in the pool, but calls still run there. `kin` are declared just like it. One that
    slept when a call was released to it is `awake_at` an instant after. `latencies` are the last
    calls' seconds per output token, `prefills` the prompts before its own where another
    server computes them.
    """

    spec: EndpointSpec
    profile: Profile = DEFAULT_PROFILE
    loads: dict[CallKey, Load] = field(default_factory=dict)
    inflight: InFlight = field(default_factory=InFlight)
    kin: "list[Endpoint]" = field(default_factory=list, repr=False, compare=False)
    seats: int | None = None
    ceiling: int | None = None
    kv_tokens: int | None = None
    leaving: bool = False
    reachable: bool = True
    trouble: str = ""
    faults: int = 0
    fault_at: Seconds = -1.0
    down_until: Seconds = 0.0
    foreign: int = 0
    speed: float = 1.0
    speed_samples: int = 0
    served: int = 0
    last_seen: EndpointSeen | None = None
    latencies: deque[Seconds] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    asleep: bool = False
    awake_at: Seconds = 0.0
    version: str = ""
    heeds_urgency: bool | None = None
    told_context_tokens: int | None = None
    prefills: "PrefillLine | None" = None
    _served_below: int = 0
    _full_looks: int = 0
    _full_at: int = 0

    @classmethod
    def from_spec(cls, spec: EndpointSpec) -> "Endpoint":
        """An endpoint about which nothing is known but its declaration."""
        profile = spec.profile or DEFAULT_PROFILE
        return cls(spec=spec, profile=profile, seats=profile.seats, kv_tokens=profile.kv_tokens)

    def redeclared(self, spec: EndpointSpec) -> "Endpoint":
        """The same endpoint under a changed declaration: what was observed stays."""
        self.spec = spec
        self.leaving = False
        self.profile = spec.profile or DEFAULT_PROFILE
        self.seats = self.profile.seats if self.profile.seats is not None else self.seats
        self.kv_tokens = self.profile.kv_tokens or self.kv_tokens
        return self

    @property
    def context_tokens_limit(self) -> int | None:
        """The longest prompt and answer that it takes: as declared, or less if it says so."""
        known = [one for one in (self.spec.context_tokens, self.told_context_tokens) if one]
        return min(known, default=None)

    @property
    def id(self) -> EndpointId:
        """The endpoint's id."""
        return self.spec.id

    def up(self, at: Seconds) -> bool:
        """Whether a new call may be sent there."""
        return self.reachable and at >= self.down_until

    # -- load ----------------------------------------------------------------------------

    def add(self, key: CallKey, load: Load) -> None:
        """A call was released to this endpoint."""
        if self.asleep:
            self.asleep, self.awake_at = False, load.released_at + self.profile.wake_s
        if self.prefills is not None:
            start = max(self.prefills.free_at, load.released_at)
            self.prefills.free_at = start + load.uncached_tokens * self.profile.prefill_s
        self.loads[key] = load
        self.inflight.add(key, load, self.fits)
        self._pace(load.released_at)

    def remove(self, key: CallKey, at: Seconds) -> Load | None:
        """A call is closed; None if it was not on the books."""
        if self.loads.pop(key, None) is None:
            return None
        load = self.inflight.remove(key, at, self.fits)
        self._pace(at)
        return load

    def _pace(self, at: Seconds) -> None:
        """Tell the server's books how long a step takes from `at` on."""
        self.inflight.pace(at, self.profile, self.speed)

    @property
    def room(self) -> int | None:
        """How many calls the server takes at once, as far as we know."""
        if self.ceiling is None:
            return self.seats
        return self.ceiling if self.seats is None else min(self.seats, self.ceiling)

    @property
    def fits(self) -> int | None:
        """How many calls like those it has the server holds at once, by seats and by KV."""
        room, count, inflight = self.room, len(self.inflight.loads), self.inflight
        if self.kv_tokens is None or count < 2:
            return room
        if room is not None and self.kv_tokens * count >= room * inflight.kv_bound:
            return room  # even if each held its most; working out what they hold takes longer
        held = max(int(self.kv_tokens * count / max(inflight.kv_tokens, 1.0)), 1)
        return held if room is None else min(room, held)

    @property
    def sequences(self) -> int:
        """Calls on the endpoint's server: ours, and those of others that a scrape showed."""
        return len(self.inflight.loads) + self.foreign

    def tokens_left(self, at: Seconds) -> float:
        """Predicted output tokens still to come on the server."""
        return self.inflight.tokens_left(at)

    def context_tokens(self, at: Seconds) -> float:
        """Tokens of prompts and answers that the server's seated calls attend to."""
        return self.inflight.context_tokens(at)

    def kv_reserved(self) -> float:
        """KV tokens that our calls will come to hold together (`footprint`)."""
        return self.inflight.kv_tokens

    def has_room(self, kv_need: float) -> bool:
        """Whether the engine would start a call at once: a free seat, and KV for its P90.

        One call of ours always finds room: foreign traffic is only what a scrape says, and
        the engine's own queue is better than none.
        """
        if not self.inflight.loads:
            return True
        if (room := self.room) is not None and self.sequences >= room:
            return False
        known, most = self.kv_tokens, self.inflight.kv_bound + kv_need
        return known is None or most <= known or self.kv_reserved() + kv_need <= known

    # -- time ----------------------------------------------------------------------------

    def _step_s(self, sequences: int, context_tokens: float) -> Seconds:
        return self.profile.step_time_s(max(sequences, 1), context_tokens) * self.speed

    def service_s(self, at: Seconds, prompt_tokens: float, output_tokens: float) -> Seconds:
        """Seconds of a call if it started now beside what runs: prefill, then decode."""
        context = self.inflight.context_tokens(at) + prompt_tokens
        room = self.room
        together = self.sequences + 1
        if room is not None and together > room:
            together = room  # those beyond the seats wait
        step = self.profile.step_time_s(together, context)
        work = prompt_tokens * self.profile.prefill_s + output_tokens * step
        if self.prefills is not None:
            work += prompt_tokens * self.profile.transfer_s
            work += max(self.prefills.free_at - at, 0.0)
        return work * self.speed + self.spec.rtt_s + self.wake_left_s(at)

    def wake_left_s(self, at: Seconds) -> Seconds:
        """Seconds until a call released now would find the endpoint awake."""
        return self.profile.wake_s if self.asleep else max(self.awake_at - at, 0.0)

    def alone_s(self, prompt_tokens: float, output_tokens: float) -> Seconds:
        """Seconds of a call on the idle endpoint."""
        step = self.profile.step_time_s(1, prompt_tokens)
        work = prompt_tokens * self.profile.prefill_s + output_tokens * step
        if self.prefills is not None:
            work += prompt_tokens * self.profile.transfer_s
        return work * self.speed + self.spec.rtt_s

    def slowing_s(self, at: Seconds, prompt_tokens: float, output_tokens: float) -> Seconds:
        """Seconds by which one more call delays those that run, summed over them.

        Each loses the prefill of the new call, and the longer step while both decode.
        """
        running = self.inflight.seated
        if not running:
            return 0.0
        profile = self.profile
        together = min(self.tokens_left(at), running * output_tokens)
        longer = profile.seq_s + prompt_tokens * profile.context_s
        prefill_s = profile.prefill_s if self.prefills is None else 0.0
        return (running * prompt_tokens * prefill_s + together * longer) * self.speed

    def wait_s(self, at: Seconds, ahead: float = 0.0, kv_need: float = 0.0) -> Seconds:
        """Seconds until a call with `ahead` others before it has room; 0 if it has."""
        room = self.fits
        free = (room - self.sequences) if room is not None else 1
        if free > ahead:
            if self.has_room(kv_need):
                return 0.0
            free = 0  # seats are no use without KV: the next to end makes room
        inflight = self.inflight
        seated = max(inflight.seated, 1)
        step = self._step_s(seated + self.foreign, inflight.context_tokens(at))
        mean_left = inflight.tokens_left(at) / max(len(inflight.loads), 1)
        interval = mean_left * step / seated
        return inflight.least_left(at) * step + (ahead - free) * interval

    def congestion_s(self, at: Seconds, output_tokens: float) -> Seconds:
        """Chimera's L_m: predicted tokens in flight over the batch, plus its own, times a step."""
        context = self.inflight.context_tokens(at)
        step = self._step_s(self.inflight.seated + self.foreign, context)
        batch = self.room or max(self.sequences, 1)
        return step * (self.tokens_left(at) / batch + output_tokens)

    # -- learning ------------------------------------------------------------------------

    def observed(self, predicted_s: Seconds, real_s: Seconds, *, at_speed: float) -> None:
        """A call took `real_s`, not the `predicted_s` expected when `at_speed` was believed.

        The believed speed moves towards what this call shows, however many calls were
        predicted before the last correction.
        """
        if predicted_s <= 0 or real_s <= 0:
            return
        self.speed_samples += 1
        weight = max(SPEED_WEIGHT, 1.0 / (self.speed_samples + 1))
        shown = real_s / predicted_s * at_speed
        ratio = min(max(shown / self.speed, 0.2), 5.0)
        low, high = SPEED_RANGE
        self.speed = min(max(self.speed * ratio**weight, low), high)
        self.lend_speed()

    def lend_speed(self) -> None:
        """What is learned here holds for its kin, each until it has shown its own speed.

        Without this an endpoint whose profile is far off is believed slow and never tried.
        """
        if self.speed_samples:
            for one in self.kin:
                if not one.speed_samples and one.speed != self.speed:
                    one.speed = self.speed

    def fault(self, at: Seconds, trouble: str) -> None:
        """A call failed for a reason that lies with the endpoint: after a few, rest it.

        While it rests, calls sent before only tell of the same trouble.
        """
        self.fault_at = at
        self.trouble = trouble
        if at < self.down_until:
            return
        self.faults += 1
        if self.faults >= FAULTS_BEFORE_DOWN:
            rest = DOWN_FIRST_S * 2 ** min(self.faults - FAULTS_BEFORE_DOWN, 10)
            self.down_until = at + min(rest, DOWN_LONGEST_S)

    def refused(self) -> None:
        """It turned a call away though it serves others: for now, what it holds is its room.

        A queue that is full answers 503 or 429, which gateways count as failures; so we stay
        below it, and try one more only after a whole room of calls was served.
        """
        self.ceiling = max(self.sequences, 1)
        self._served_below = 0

    def served_one(self, released_at: Seconds) -> None:
        """A call was answered. If it was sent after the last fault, the trouble is over."""
        self.served += 1
        if self.ceiling is not None:
            self._served_below += 1
            if self._served_below >= max(self.ceiling, ROOM_RAISED_AFTER):
                self._served_below = 0
                self.ceiling += 1
                if self.seats is not None and self.ceiling >= self.seats:
                    self.ceiling = None
        if released_at >= self.fault_at:
            self.faults = 0
            self.down_until = 0.0
            self.trouble = ""
            self.reachable = True

    def seen(self, fact: EndpointSeen, at: Seconds) -> None:
        """Take in what a scrape told: health, sizes, foreign traffic, a limit that shows itself."""
        self.last_seen = fact
        if fact.reachable and not self.reachable:
            self.faults = 0
            self.down_until = 0.0
        self.reachable = fact.reachable
        self.trouble = fact.error
        if not fact.reachable:
            return
        self.version = fact.version or self.version
        self.heeds_urgency = fact.heeds_urgency
        if fact.context_tokens is not None:
            self.told_context_tokens = fact.context_tokens
        if fact.kv_tokens and fact.kv_tokens > 0 and self.profile.kv_tokens is None:
            self.kv_tokens = fact.kv_tokens
        if self.profile.seats is None:
            if fact.seats is not None and fact.seats > 0:
                self.seats = fact.seats
            else:
                self._learn_seats(fact)
        if fact.asleep is not None and not self.inflight.loads:
            self.asleep = fact.asleep
        if fact.running is not None:
            self.foreign = max(fact.running + (fact.waiting or 0) - len(self.inflight.loads), 0)
        self._pace(at)

    def heard(self, waiting: int, at: Seconds) -> None:
        """An answer told how many stood in the queue: but for ours, others', until a scrape."""
        if self.last_seen is None or self.last_seen.running is None or self.room is None:
            return
        ours = max(len(self.inflight.loads) + 1 - self.room, 0)
        if waiting - ours > self.foreign:
            self.foreign = waiting - ours
            self._pace(at)

    def _learn_seats(self, fact: EndpointSeen) -> None:
        """A limit shows itself when some requests wait while as many run, look after look.

        One look may catch a queue that is just moving up, and a limit once believed keeps
        itself true; so it is raised again whenever it is reached and nothing waits.
        """
        if not fact.running or fact.waiting is None:
            self._full_looks = 0
        elif not fact.waiting:
            self._full_looks = 0
            if self.seats is not None and fact.running >= self.seats:
                self.seats = fact.running + max(fact.running // 4, 1)
        elif fact.kv_used is None or fact.kv_used < KV_FULL:
            self._full_looks = self._full_looks + 1 if fact.running == self._full_at else 1
            self._full_at = fact.running
            if self._full_looks >= LOOKS_OF_A_LIMIT:
                self.seats = fact.running
