"""What is to be played in a cell: runs with their arrivals and promises, and rules for all."""

import msgspec

from headway.core.types import Seconds
from headway.sim.trace import TraceRun

WORDS_ABOUT_A_FAILURE = 40
"""Tokens that a graph adds to the conversation when it asks again."""


class Planned(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run to come: which body, when, under which name (unique in the cell) and promise.

    A question is asked at most `attempts` times, each `pause_s` after the verdict before.
    """

    id: str
    run: TraceRun
    arrival_s: Seconds
    alone_s: Seconds
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    attempts: int = 4
    pause_s: Seconds = 0.3


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every run of a cell.

    `decision_s` is what a decision is charged (measured on the daemon), `max_tokens` the limit
    of calls that have none of their own, `scrape_s` how often endpoints are looked at.
    """

    pool_name: str = "agent"
    decision_s: Seconds = 0.001
    max_tokens: int = 4096
    scrape_s: Seconds = 2.0
    seed: int = 0
