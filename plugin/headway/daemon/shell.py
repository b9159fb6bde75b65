"""The shell around the scheduler: stamps events, carries out commands, keeps the journal.

Everything that happens to the scheduler passes `Shell.tell`. A fact that makes
the scheduler raise is logged and counted; the daemon goes on, and whoever
asked for a decision gets "use your fallback".
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec

from headway import __version__
from headway.core.commands import AnyCommand, Grant, Notice, SetTimer
from headway.core.errors import ConfigError
from headway.core.facts import AnyFact, CallReady, Event, TimerFired
from headway.core.lessons import Lesson
from headway.core.pool import Pool
from headway.core.types import ClientId, EndpointId, Mode, RunId, Seconds
from headway.daemon.stories import Stories
from headway.policy import make_scheduler as assemble
from headway.wire.journal import JOURNAL_FORMAT, Header, JournalWriter
from headway.wire.messages import Granted

log = logging.getLogger("headway.daemon")

MAX_LOGGED_ERRORS = 20
MAX_SUBJECTS = 10_000
NOBODY = ClientId("")


class SchedulerLike(Protocol):
    """The part of `headway.core.scheduler.Scheduler` that the shell uses."""

    @property
    def pool(self) -> Pool:
        """The pool, with its mode."""

    def handle(self, event: Event) -> tuple[AnyCommand, ...]:
        """The only thing that changes the scheduler."""

    def made(self) -> tuple[AnyCommand, ...]:
        """The commands of the last `handle`, also if it raised."""

    @property
    def lessons(self) -> Sequence[Lesson]:
        """What the last `handle` taught the predictors."""

    def observed(self) -> dict[str, Any]:
        """Of a snapshot what changes with every call and no lesson tells of."""

    def snapshot(self) -> dict[str, Any]:
        """What was learned."""

    def open_facts(self, at: Seconds) -> tuple[Event, ...]:
        """The open runs, nodes and calls, told anew."""

    def ended_runs(self) -> tuple[RunId, ...]:
        """Runs that are over and still known, oldest first."""

    def explain(self, run: str) -> dict[str, Any]:
        """The story of one run."""

    def status(self, at: Seconds) -> dict[str, Any]:
        """The state of everything."""

    def overview(self, at: Seconds) -> dict[str, Any]:
        """The queue, the open runs, and prediction against outcome."""

    def trust(self) -> dict[str, float]:
        """How each predictor has done of late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a fresh scheduler is made of; what a journal's header keeps."""

    pool: Pool
    policy: str
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    learned: dict[str, Any] | None = None

    @classmethod
    def of(cls, header: Header) -> "Recipe":
        """The recipe that a journal began with."""
        return cls(
            pool=header.pool,
            policy=header.policy,
            params=header.params,
            seed=header.seed,
            learned=header.learned,
        )

    def header(self) -> Header:
        """The header of a journal that begins with this recipe."""
        return Header(
            format=JOURNAL_FORMAT,
            headway=__version__,
            pool=self.pool,
            policy=self.policy,
            params=self.params,
            seed=self.seed,
            learned=self.learned,
        )


MakeScheduler = Callable[[Recipe], SchedulerLike]


def make_scheduler(recipe: Recipe) -> SchedulerLike:
    """The real scheduler. Raises `ConfigError` for an unknown policy or parameter."""
    return assemble(
        recipe.pool,
        policy=recipe.policy,
        params=recipe.params,
        seed=recipe.seed,
        learned=recipe.learned,
    )


def as_replayed(learned: dict[str, Any]) -> dict[str, Any]:
    """A snapshot as a journal's reader will see it (tuples are lists there)."""
    seen: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(learned))
    return seen


class Shell:
    """Drives one scheduler on the running event loop.

    `deliver(client, granted)` sends a decision to the connection that waits
    for it. The journal may be None. Raises `ConfigError` if it cannot be begun.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        make: MakeScheduler,
        deliver: Callable[[ClientId, Granted], None],
        journal: JournalWriter | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._make = make
        self._deliver = deliver
        self._journal = journal
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._noticed: dict[str, tuple[str, str]] = {}
        self._stories = Stories()
        self._lessons: list[Lesson] = []
        self._scheduler = make(recipe)
        self.recipe = recipe
        self.events = 0
        self.errors = 0
        self.journal_error = ""
        if journal is not None:
            try:
                journal.start(recipe.header())
            except OSError as error:
                raise ConfigError(
                    f"cannot write a journal in {journal.folder} ({error.strerror}): "
                    "choose another folder with --journal, or --no-journal"
                ) from error

    @property
    def pool(self) -> Pool:
        """The scheduler's pool, with its mode."""
        return self._scheduler.pool

    @property
    def mode(self) -> Mode:
        """The scheduler's mode."""
        return self._scheduler.pool.mode

    @property
    def journal(self) -> JournalWriter | None:
        """The journal; None when there is none, or when it could not be written."""
        return self._journal

    def tell(self, fact: AnyFact, client: ClientId = NOBODY) -> None:
        """Something happened: stamp it, let the scheduler decide, do what it commands."""
        self._handle(Event(at=self._loop.time(), fact=fact, client=client))
        if self._journal is not None and self._journal.full:
            self._rotate()

    def rebase(self, recipe: Recipe | None = None) -> None:
        """Go on with a new scheduler in a new journal file, so that each file replays alone.

        The new one begins with what the old one learned and is told what is
        open; what it cannot be told, the stories of ended runs, is kept here.
        With `recipe` the pool, policy and seed change as well (its `learned`
        is set here). Raises `ConfigError` and changes nothing if that policy
        does not exist.
        """
        fresh_recipe = replace(
            recipe or replace(self.recipe, pool=self.pool, seed=self.recipe.seed + 1),
            learned=as_replayed(self._scheduler.snapshot()),
        )
        at = self._loop.time()
        open_now = self._scheduler.open_facts(at)
        fresh = self._make(fresh_recipe)
        self._stories.keep(self._scheduler)
        self._scheduler = fresh
        self.recipe = fresh_recipe
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        if self._journal is not None:
            try:
                self._journal.start(fresh_recipe.header())
            except OSError as error:
                self._journal_failed(error)
        for event in open_now:
            self._handle(event)

    def snapshot(self) -> dict[str, Any]:
        """What was learned."""
        return self._scheduler.snapshot()

    def take_lessons(self) -> list[Lesson]:
        """What predictors were taught since somebody asked last."""
        taken, self._lessons = self._lessons, []
        return taken

    def observed(self) -> dict[str, Any]:
        """Of a snapshot what changes with every call and no lesson tells of."""
        return self._scheduler.observed()

    def explain(self, run: str) -> dict[str, Any]:
        """The story of a run. Raises `HeadwayError` if it is not known."""
        return self._stories.explain(self._scheduler, run)

    def status(self) -> dict[str, Any]:
        """The scheduler's own status."""
        return self._scheduler.status(self._loop.time())

    def overview(self) -> dict[str, Any]:
        """The scheduler's queue, open runs and predictions."""
        return self._scheduler.overview(self._loop.time())

    def flush(self) -> None:
        """Hand the journal's buffer to the operating system."""
        if self._journal is not None:
            try:
                self._journal.flush()
            except OSError as error:
                self._journal_failed(error)

    def stop(self) -> None:
        """Cancel the timers and close the journal."""
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        if self._journal is not None:
            try:
                self._journal.close()
            except OSError as error:
                self._journal_failed(error)

    def _handle(self, event: Event) -> None:
        self.events += 1
        error = ""
        commands: tuple[AnyCommand, ...] = ()
        try:
            commands = self._scheduler.handle(event)
        except Exception as raised:  # noqa: BLE001 - one bad fact must not end the daemon
            error = f"{type(raised).__name__}: {raised}"
            commands = self._scheduler.made()  # calls released by then are bound: tell them
            self._raised(event, raised)
        self._lessons += self._scheduler.lessons
        try:
            for command in commands:  # first: nobody waits for the journal
                self._execute(command)
        finally:
            self._record(event, commands, error)

    def _record(self, event: Event, commands: tuple[AnyCommand, ...], error: str) -> None:
        if self._journal is not None:
            try:
                self._journal.append(event, commands, error)
            except OSError as failed:
                self._journal_failed(failed)

    def _execute(self, command: AnyCommand) -> None:
        if isinstance(command, Grant):
            self._deliver(
                command.client,
                Granted(
                    call=command.call,
                    attempt=command.attempt,
                    endpoint=command.endpoint,
                    model=command.model,
                    urgency=command.urgency,
                    held_s=command.held_s,
                    why=command.why,
                    apply=self.mode == "on",
                    output_tokens=command.output_tokens,
                    forecasts=self._scheduler.trust(),
                ),
            )
        elif isinstance(command, SetTimer):
            replaced = self._timers.pop(command.timer, None)
            if replaced is not None:
                replaced.cancel()
            self._timers[command.timer] = self._loop.call_at(command.at, self._fire, command.timer)
        elif isinstance(command, Notice):
            said = (command.kind, command.message)
            if self._noticed.get(command.subject) != said:
                if len(self._noticed) >= MAX_SUBJECTS:
                    self._noticed.clear()
                self._noticed[command.subject] = said
                log.warning("%s: %s", command.kind.replace("_", " "), command.message)

    def _rotate(self) -> None:
        try:
            self.rebase()
        except Exception as raised:  # noqa: BLE001 - the old scheduler goes on, without a journal
            self.errors += 1
            self._journal_failed(f"the scheduler could not be told anew ({raised})")

    def _fire(self, timer: str) -> None:
        self._timers.pop(timer, None)
        self.tell(TimerFired(timer=timer))

    def _raised(self, event: Event, raised: Exception) -> None:
        self.errors += 1
        if self.errors <= MAX_LOGGED_ERRORS:
            log.error("a defect of Headway: %r raised; the daemon goes on", event, exc_info=raised)
        fact = event.fact
        if isinstance(fact, CallReady):
            refusal = Granted(
                call=fact.call,
                attempt=fact.attempt,
                endpoint=EndpointId(""),
                model="",
                urgency=0.0,
                held_s=0.0,
                why=f"the scheduler failed: {type(raised).__name__}",
                apply=self.mode == "on",
            )
            self._deliver(event.client, refusal)

    def _journal_failed(self, error: OSError | str) -> None:
        self.journal_error = f"no journal any more: {error}"
        self._journal = None
        log.error("%s; scheduling goes on without", self.journal_error)
