"""Recorded arrivals: Azure's and Mooncake's requests, and ServeGen's clients.

The first two are also runs of one call. ServeGen has fitted parameters instead of
requests: whoever wants arrivals draws them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.core.types import Seconds
from headway.sim.loaders.rows import Count, Rows, Time, written
from headway.sim.trace import TraceNode, TraceRun

AZURE = "azure_llm_2023"
AZURE_SOURCE = "Azure LLM inference trace 2023 (CC-BY-4.0; Splitwise, ISCA 2024)"
MOONCAKE_SOURCE = "Mooncake traces (kvcache-ai/Mooncake, FAST'25, Apache-2.0)"
SERVEGEN = "servegen_client_windows"
SERVICES = ("code", "conv")
MOONCAKE_BLOCK_TOKENS = 512
NAMESPACE_BLOCKS = 1 << 40
"""Block ids of one namespace; the next one's begin behind them."""


class AzureRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request of a service, seconds from the trace's start."""

    s: str
    t: Time
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")


class MooncakeRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request; `h` are its blocks, in one namespace per trace `s`."""

    s: str
    t_ms: Count
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    h: tuple[tuple[Count, Count], ...]


class Window(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One window of a client: requests a second, the gaps' CV and the law fitted to them.

    `family` is G(amma) or W(eibull) with shape `a` and scale `b` in seconds.
    """

    start_s: Time
    rate_rps: Time
    cv: Time
    family: Literal["G", "W"]
    a: float
    b: float


class Lengths(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Mean, P50, P90, P99 of prompt and output tokens from `start_s` on. None: not told."""

    start_s: Time
    prompt_tokens: tuple[float, float, float, float] | None
    output_tokens: tuple[float, float, float, float] | None


class ClientWindows(msgspec.Struct, frozen=True, kw_only=True):
    """A production client over days: `windows` of `window_s` in which it asked, by start.

    Windows without a request are not there; `lengths` is empty for some clients.
    """

    id: str
    category: str = msgspec.field(name="cat")
    model: str
    window_s: Time
    requests: Count = msgspec.field(name="req_est")
    windows: tuple[Window, ...] = msgspec.field(name="w")
    lengths: tuple[Lengths, ...] = msgspec.field(name="len", default=())


def load_azure(folder: Path, service: str) -> tuple[tuple[Seconds, int, int], ...]:
    """(second, prompt tokens, output tokens) of every request to `service`, by time.

    `service` is ``code`` or ``conv``. Raises `ConfigError`.
    """
    if service not in SERVICES:
        raise ConfigError(f"{AZURE}: no service `{service}`{nearest(service, SERVICES)}")
    rows = Rows(AZURE, folder, where={"s": service})
    found = [(row.t, row.prompt_tokens, row.output_tokens) for row in rows.of(AzureRow)]
    if not found:
        raise rows.nothing()
    return tuple(sorted(found, key=lambda one: one[0]))


def load_servegen(folder: Path) -> tuple[ClientWindows, ...]:
    """Every client, in the order of the files. Raises `ConfigError`."""
    rows = Rows(SERVEGEN, folder)
    found: list[ClientWindows] = []
    for client in rows.of(ClientWindows):
        if any(
            b.start_s <= a.start_s for a, b in zip(client.windows, client.windows[1:], strict=False)
        ):
            raise rows.wrong(f"{client.id}: its windows are not in order")
        found.append(client)
    if not found:
        raise rows.nothing()
    return tuple(found)


def azure(rows: Rows) -> Iterator[TraceRun]:
    """Every request as a run of one call; the graph is ``azure.SERVICE``."""
    count: dict[str, int] = {}
    for row in rows.of(AzureRow):
        number = count[row.s] = count.get(row.s, 0) + 1
        node = TraceNode(
            name="call",
            prompt_tokens=row.prompt_tokens,
            output_tokens=written(row.output_tokens),
        )
        yield _single(f"azure.{row.s}", number, row.t, node)


def mooncake(rows: Rows) -> Iterator[TraceRun]:
    """Every request as a run of one call, with blocks that mean the same in all runs.

    Arrivals are as recorded: many of them share an instant, about every three seconds.
    """
    count: dict[str, int] = {}
    spaces: dict[str, int] = {}
    for row in rows.of(MooncakeRow):
        number = count[row.s] = count.get(row.s, 0) + 1
        shift = spaces.setdefault(row.s, len(spaces)) * NAMESPACE_BLOCKS
        node = TraceNode(
            name="call",
            prompt_tokens=row.prompt_tokens,
            output_tokens=written(row.output_tokens),
            prefix=tuple((first + shift, blocks) for first, blocks in row.h),
        )
        run = _single(f"mooncake.{row.s}", number, row.t_ms / 1000.0, node)
        yield msgspec.structs.replace(run, block_tokens=MOONCAKE_BLOCK_TOKENS, shared_blocks=True)


def _single(graph: str, number: int, at: Seconds, node: TraceNode) -> TraceRun:
    run = f"{graph}/{number:06d}"
    return TraceRun(id=run, graph=graph, group=run, nodes=(node,), arrival_s=at)
