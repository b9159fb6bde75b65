"""Jobs in worker processes: the same results whatever their number, and none lost to Ctrl-C.

A job is plain data; a worker reads what it needs itself, once (its `Bench`). With one worker
everything happens in this process.
"""

import functools
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal

import msgspec

from headway.core.errors import ConfigError, HeadwayError
from headway.sim.cells import Bench, CellSpec, Play, Rehearse
from headway.sim.sources import Sources

PARENT_LOOK_S = 1.0
Kind = Literal["knee", "tally", "example"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work on one or two cells: find a knee, tally a cell, show an example of two."""

    kind: Kind
    specs: tuple[CellSpec, ...]
    plays: int = 0


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """Where jobs are done: `workers` processes, folders, and what plays (functions of modules)."""

    workers: int
    data: Path | None
    base: Path | None
    play: Play
    rehearse: Rehearse

    def bench(self) -> Bench:
        """A fresh bench."""
        sources = Sources(data=self.data, base=self.base)
        clock = time.perf_counter  # noqa: TID251  # how long decisions take is a measure, no input
        return Bench(sources, play=self.play, rehearse=self.rehearse, clock=clock)


def work(shop: Shop, bench: Bench, jobs: Sequence[Job]) -> Iterator[tuple[int, Any]]:
    """(place of the job, its result), as they come. Raises `HeadwayError` naming a failed cell."""
    if shop.workers <= 1 or len(jobs) <= 1:
        for place, job in enumerate(jobs):
            yield place, _done(bench, job)
        return
    context = multiprocessing.get_context("spawn")  # no state of this process leaks into a cell
    executor = ProcessPoolExecutor(
        min(shop.workers, len(jobs)),
        mp_context=context,
        initializer=_begin,
        initargs=(os.getpid(),),
    )
    try:
        yield from _as_they_come(executor, shop, jobs)
    except BrokenProcessPool as error:
        raise HeadwayError(
            "a worker process died (interrupted, or out of memory: try fewer --workers); what is "
            "finished is kept, and the same command goes on from there"
        ) from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _as_they_come(
    executor: ProcessPoolExecutor, shop: Shop, jobs: Sequence[Job]
) -> Iterator[tuple[int, Any]]:
    where: dict[Future[Any], int] = {}
    pending: set[Future[Any]] = set()
    left = iter(enumerate(jobs))

    def fill() -> None:
        # a few jobs ahead of the workers, not all: a suite has thousands, each with its specs
        for place, job in left:
            future = executor.submit(_in_worker, shop, job)
            where[future] = place
            pending.add(future)
            if len(pending) >= 3 * shop.workers:
                return

    fill()
    while pending:
        done, rest = wait(pending, return_when=FIRST_COMPLETED)
        pending.clear()
        pending.update(rest)
        fill()
        for future in sorted(done, key=lambda one: where[one]):
            yield where.pop(future), future.result()


def _begin(parent: int) -> None:
    """Ctrl-C reaches the workers too: they end silently, the parent tells.

    Nor do they outlive a parent that was killed, and could not end them.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_S)
    os._exit(1)


def _in_worker(shop: Shop, job: Job) -> Any:
    return _done(_bench(shop.data, shop.base, shop.play, shop.rehearse), job)


@functools.cache
def _bench(data: Path | None, base: Path | None, play: Play, rehearse: Rehearse) -> Bench:
    """The bench of this process: data are read and histories rehearsed once, not once a cell."""
    return Shop(workers=1, data=data, base=base, play=play, rehearse=rehearse).bench()


def _done(bench: Bench, job: Job) -> Any:
    gc.disable()  # a cell makes few cycles, and looking for them costs a sixth of its time
    try:
        if job.kind == "knee":
            return bench.knee(job.specs[0], job.plays)
        if job.kind == "example":
            return bench.example((job.specs[0], job.specs[1]))
        return bench.tally(job.specs[0])
    except ConfigError as error:
        raise ConfigError(f"{error} (in {job.specs[0]})") from error
    except HeadwayError as error:
        raise HeadwayError(f"{error} (in {job.specs[0]})") from error
    except Exception as error:  # whatever it is, the cell must be named
        raise HeadwayError(
            f"a cell failed: {type(error).__name__}: {error} (in {job.specs[0]})"
        ) from error
    finally:
        gc.enable()
        gc.collect()
