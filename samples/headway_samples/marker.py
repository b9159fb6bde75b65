"""The line in a prompt that tells the emulated models which task they are looking at.

A real model reads the task; an emulated one cannot, so each prompt of the
samples ends with a marker such as ``[task=code_generation:7:3 role=repair
attempt=2]``. It names the task, a variant (so that the same task may be met
twice with independent luck), the role and the attempt, and says nothing of
how hard the task is.
"""

import re
from dataclasses import dataclass

_PATTERN = re.compile(
    r"\[task=(?P<sample>\w+):(?P<task>\d+):(?P<variant>\d+) role=(?P<role>\w+)"
    r" attempt=(?P<attempt>\d+)(?: part=(?P<part>[\w-]+))?\]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """Which task, in which role, for the how-manieth time (from 1)."""

    sample: str
    task: int
    variant: int
    role: str
    attempt: int = 1
    part: str = ""

    def __str__(self) -> str:
        part = f" part={self.part}" if self.part else ""
        return (
            f"[task={self.sample}:{self.task}:{self.variant} role={self.role}"
            f" attempt={self.attempt}{part}]"
        )


def find_marker(text: str) -> Marker | None:
    """The last marker in `text`, or None if it holds none."""
    found = list(_PATTERN.finditer(text))
    if not found:
        return None
    last = found[-1]
    return Marker(
        sample=last["sample"],
        task=int(last["task"]),
        variant=int(last["variant"]),
        role=last["role"],
        attempt=int(last["attempt"]),
        part=last["part"] or "",
    )
