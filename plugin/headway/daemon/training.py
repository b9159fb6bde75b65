"""Learning from what is past: journals and labels, into what a daemon may start with.

Pure but for reading the files that are named. Each takes what is known so far (a
`Scheduler.snapshot()`, or None) and gives what is known then.
"""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError, JournalError, nearest
from headway.core.pool import Pool
from headway.core.prompts import features
from headway.core.protocols import Query
from headway.core.scheduler import Scheduler
from headway.daemon.retold import Recorded, recorded_scheduler
from headway.predict.confidence import SOURCES
from headway.predict.foresight import OnlineForesight
from headway.wire.journal import journals_in, read_journal

log = logging.getLogger("headway.train")

Learned = dict[str, Any]


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model's answer to a prompt was judged: one line of a file of labels.

    `failed` are the models that had failed at the same prompt before.
    """

    graph: str
    node: str
    model: str
    ok: bool
    text: str = ""
    failed: tuple[str, ...] = ()


def journal_files(path: Path) -> list[Path]:
    """A journal, or those of a folder, oldest first. Raises `ConfigError` if there is none."""
    if path.is_file():
        return [path]
    found = journals_in(path)
    if not found:
        raise ConfigError(f"{path}: no journal, and no folder with journals")
    return found


def learn_journal(path: Path, known: Learned | None) -> Learned:
    """Tell a scheduler the journal under the decisions that it records.

    If nothing is known, what the journal itself began with is. Raises `JournalError`.
    """
    reader = read_journal(path)
    header = reader.header
    policy, foresight = Recorded(), OnlineForesight(header.pool.quality)
    start = header.learned if known is None else known
    scheduler = recorded_scheduler(header, policy, foresight, start)
    try:
        for entry in reader.entries():
            policy.tell(entry.commands)
            try:
                scheduler.handle(entry.event)
            except Exception as error:  # noqa: BLE001 - the daemon lived through it too
                log.debug("%s: %r", path, error)
    except JournalError as error:
        log.warning("%s: read up to where it is damaged: %s", path, error)
    return _plain(scheduler.snapshot())


def learn_labels(path: Path, pool: Pool, known: Learned | None) -> tuple[Learned, int]:
    """Teach confidence the labels of a file (JSON, one a line); what is known, and how many.

    Labels may contradict each other. Raises `ConfigError` that names the line of a wrong one.
    """
    scheduler = Scheduler(
        pool,
        Recorded(),
        foresight=OnlineForesight(pool.quality),
        rng=random.Random(0),
        learned=known,
    )
    confidence = scheduler.foresight.confidence
    count = 0
    served = {spec.model for spec in pool.endpoints}
    strange: set[str] = set()
    for label in _labels(path):
        if label.model not in served and label.model not in strange:
            strange.add(label.model)
            log.warning(
                "%s: no endpoint serves %r%s", path, label.model, nearest(label.model, served)
            )
        query = Query(
            graph=label.graph,
            node=label.node,
            model=label.model,
            features=features(label.text) if label.text else (),
        )
        confidence.learn(query, label.ok, source=SOURCES[0], failed=label.failed)
        count += 1
    return _plain(scheduler.snapshot()), count


def _labels(path: Path) -> Iterator[Label]:
    decoder = msgspec.json.Decoder(Label)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise ConfigError(f"{path}:{number}: no label: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _plain(snapshot: Learned) -> Learned:
    """As it will be read again."""
    found: Learned = msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot))
    return found
