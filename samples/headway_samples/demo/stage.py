"""Where a demo takes place: which pool, how it is run, and how late it was."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from headway_samples.pool import COUNT, MODELS, SEATS, SamplePool, make_pool
from headway_samples.processes import emulator, lateness
from headway_samples.sample import ChatFactory


def as_they_are(chat: ChatFactory) -> ChatFactory:
    """Chat models without anything around them."""
    return chat


def pool_text() -> str:
    """The emulated pool in words: how many endpoints of which model, and their seats."""
    return ", ".join(f"{COUNT[model]} x {model} of {SEATS[model]} seats" for model in MODELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The pool of a demo and its servers.

    `make` gives the pool at so many emulated seconds a wall second; `running` runs its
    servers inside a block, logs in the folder; `lateness` tells how late they were, as shares of
    their modelled time; `chats` is put around every arm's chat models.
    """

    text: str
    make: Callable[[float], SamplePool]
    running: Callable[[SamplePool, Path], AbstractAsyncContextManager[None]]
    lateness: Callable[[SamplePool], Awaitable[list[float]]]
    chats: Callable[[ChatFactory], ChatFactory] = as_they_are


EMULATED = Stage(
    text=pool_text(),
    make=lambda speedup: make_pool(speedup=speedup),
    running=lambda pool, folder: emulator(pool, folder=folder),
    lateness=lateness,
)
