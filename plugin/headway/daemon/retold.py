"""A journal told once more under the decisions that it records: the books, and what they learned.

Nothing is decided anew, so a journal of another policy or an older version is
read just as well; what the core concludes from facts (whose calls a run's end
closes, which answers sufficed) is concluded by the core itself.
"""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.core.calls import Call, CallKey
from headway.core.commands import AnyCommand, Grant
from headway.core.errors import HeadwayError
from headway.core.graph import Run
from headway.core.protocols import Query, Release
from headway.core.scheduler import Scheduler
from headway.core.types import RunId, Seconds
from headway.core.view import View
from headway.predict.confidence import BaseRates
from headway.predict.foresight import OnlineForesight
from headway.wire.journal import Entry, Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one answer was judged, by which source."""

    graph: str
    node: str
    model: str
    ok: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one entry led to: calls that were closed, runs that ended, verdicts on answers."""

    closed: tuple[Call, ...]
    ended: tuple[Run, ...]
    verdicts: tuple[Verdict, ...]


class Recorded:
    """The policy that releases what the journal says was released, out of `waiting`."""

    name = "recorded"
    binds_early = True

    def __init__(self) -> None:
        self.waiting: Mapping[CallKey, Call] = {}
        self._grants: deque[Grant] = deque()

    def tell(self, commands: tuple[AnyCommand, ...]) -> None:
        """What was commanded after the next event."""
        self._grants = deque(command for command in commands if isinstance(command, Grant))

    def choose(self, view: View) -> Release | None:
        """The next recorded release of a call that still waits."""
        while self._grants:
            grant = self._grants.popleft()
            call = self.waiting.get((grant.call, grant.attempt))
            if call is not None and grant.endpoint in call.candidates:
                return Release(
                    call=call, endpoint=grant.endpoint, urgency=grant.urgency, why=grant.why
                )
        return None


class Heard(BaseRates):
    """Base rates that also keep each verdict until it is taken."""

    def __init__(self, quality: dict[str, float]) -> None:
        super().__init__(quality)
        self.verdicts: list[Verdict] = []

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """Keep the verdict, and learn from it."""
        super().learn(query, ok, source=source, failed=failed)
        self.verdicts.append(
            Verdict(graph=query.graph, node=query.node, model=query.model, ok=ok, source=source)
        )


@dataclass(slots=True)
class _Ended:
    """Which ended runs have been told already: their starts, as sessions use an id again."""

    known: dict[RunId, Seconds] = field(default_factory=dict)

    def new(self, scheduler: Scheduler) -> tuple[Run, ...]:
        """Runs (not those inside others) that have ended since, oldest first."""
        found = []
        for run in reversed(scheduler.books.ended.values()):
            if self.known.get(run.id) == run.started_at:
                if run.reopened:  # it is behind others that are new
                    continue
                break
            self.known[run.id] = run.started_at
            if run.parent is None:
                found.append(run)
        return tuple(reversed(found))


def recorded_scheduler(
    header: Header, policy: Recorded, foresight: OnlineForesight, learned: object
) -> Scheduler:
    """A scheduler for a journal's pool that releases what `policy` is told was released.

    Raises `HeadwayError` for something `learned` that it cannot take.
    """
    scheduler = Scheduler(
        header.pool,
        policy,
        foresight=foresight,
        rng=random.Random(header.seed),
        learned=learned if isinstance(learned, dict) else None,
    )
    policy.waiting = scheduler.books.waiting
    return scheduler


class Retold:
    """One journal file's scheduler, told the file's events in order."""

    def __init__(self, header: Header) -> None:
        self._policy = Recorded()
        self._heard = Heard(header.pool.quality)
        self._ended = _Ended()
        self.starts_anew = False
        try:
            self.scheduler = self._made(header, header.learned)
        except HeadwayError:
            self.starts_anew = True
            self._heard = Heard(header.pool.quality)
            self.scheduler = self._made(header, None)
        self._closed: deque[Call] = deque()
        self.scheduler.books.recent = self._closed

    def _made(self, header: Header, learned: object) -> Scheduler:
        foresight = OnlineForesight(header.pool.quality)
        foresight.confidence = self._heard
        return recorded_scheduler(header, self._policy, foresight, learned)

    def tell(self, entry: Entry) -> Told:
        """Take the next entry in. What made the recorded scheduler raise may raise here too."""
        self._policy.tell(entry.commands)
        try:
            self.scheduler.handle(entry.event)
        except Exception:  # noqa: BLE001 - the daemon lived through it, so does a report
            self._policy.tell(())
        told = Told(
            closed=tuple(self._closed),
            ended=self._ended.new(self.scheduler),
            verdicts=tuple(self._heard.verdicts),
        )
        self._closed.clear()
        self._heard.verdicts.clear()
        return told
