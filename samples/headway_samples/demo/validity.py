"""Is the machine fast enough for what was measured? Host CPU and the emulator's lateness."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import psutil

MOST_CPU = 0.85
MOST_LATENESS = 0.10
MOST_PROXY_CPU = 0.85
SAMPLE_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """How hard the machine worked during one arm, both as shares.

    `cpu` is the host's mean CPU use over all cores; `lateness` the P95 of how
    much longer the emulator took than its model said, over all requests of the arm.
    `proxy` is what a proxy used of one core, the most that one worker can.
    """

    arm: str
    cpu: float
    lateness: float
    proxy: float | None = None

    def complaints(self) -> tuple[str, ...]:
        """Why numbers measured under this strain must not be believed; empty if they may."""
        found = []
        if self.cpu > MOST_CPU:
            found.append(f"{self.arm}: host CPU at {self.cpu:.0%}, above {MOST_CPU:.0%}")
        if self.lateness > MOST_LATENESS:
            found.append(
                f"{self.arm}: the emulator was {self.lateness:.0%} late at P95, "
                f"above {MOST_LATENESS:.0%}"
            )
        if self.proxy is not None and self.proxy > MOST_PROXY_CPU:
            found.append(
                f"{self.arm}: LiteLLM's proxy used {self.proxy:.0%} of its core, above "
                f"{MOST_PROXY_CPU:.0%}: it cannot carry this load"
            )
        return tuple(found)


class CpuMeter:
    """Samples the host's CPU use in the background of an ``async with`` block."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "CpuMeter":
        psutil.cpu_percent()
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._samples.append(psutil.cpu_percent() / 100)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            self._samples.append(psutil.cpu_percent() / 100)

    @property
    def mean(self) -> float:
        """The mean of all samples, as a share of the whole host."""
        return mean_of(self._samples)


class ProcessMeter:
    """What a process uses of one core, from when this is made on."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._process.cpu_percent()

    def share(self) -> float:
        """As a share of one core; several threads may use more than one."""
        return float(self._process.cpu_percent()) / 100


def mean_of(values: Sequence[float]) -> float:
    """The mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0
