"""Journals made in virtual time: a scheduler is told facts, and what comes of it is recorded."""

from pathlib import Path

import msgspec

from headway.core.commands import AnyCommand
from headway.core.facts import AnyFact, Event
from headway.core.pool import Pool
from headway.core.types import ClientId
from headway.policy import make_scheduler
from headway.wire.journal import JOURNAL_FORMAT, Header, encode_entry, encode_record
from tests.support.telling import ALICE, Teller


class Recording(Teller):
    """A `Teller` whose events fill journal files in `folder`; `rotate` begins the next one."""

    def __init__(self, folder: Path, of: Pool, *, policy: str = "fcfs+release") -> None:
        super().__init__(of, policy=policy)
        self.policy = policy
        self.folder = folder
        self.paths: list[Path] = []
        self._begin(of, learned=None)

    def _begin(self, of: Pool, learned: dict[str, object] | None) -> None:
        path = self.folder / f"headway-{len(self.paths) + 1:06d}.journal"
        header = Header(
            format=JOURNAL_FORMAT, headway="test", pool=of, policy=self.policy, learned=learned
        )
        path.write_bytes(encode_record(header))
        self.paths.append(path)

    def tell(
        self, fact: AnyFact, client: ClientId = ALICE, *, at: float | None = None
    ) -> tuple[AnyCommand, ...]:
        commands = super().tell(fact, client, at=at)
        self._record(Event(at=self.now, fact=fact, client=client), commands)
        return commands

    def rotate(self, *, at: float) -> None:
        """A new scheduler in a new file, told what is open, as the daemon's shell does."""
        learned = msgspec.msgpack.decode(msgspec.msgpack.encode(self.scheduler.snapshot()))
        pool, open_now = self.scheduler.pool, self.scheduler.open_facts(at)
        self.scheduler = make_scheduler(pool, policy=self.policy, learned=learned)
        self._begin(pool, learned)
        for event in open_now:
            self._record(event, self.scheduler.handle(event))

    def _record(self, event: Event, commands: tuple[AnyCommand, ...]) -> None:
        with self.paths[-1].open("ab") as file:
            file.write(encode_entry(event, commands))
