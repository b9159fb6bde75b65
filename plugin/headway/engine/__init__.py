"""How a continuous-batching inference server behaves, in pure arithmetic.

`EngineProfile` says how fast and how large a server is (`preset` knows many by
name, `headway.engine.fit` makes one of measurements), `Engine` what it does
with requests over time, `Pairs` what prefill and decode engines do together.
Shared by the emulator (wall time) and the simulator (virtual time); it is the
truth that the scheduler's beliefs are judged against, so nothing that
schedules may import it. No clock, no IO.
"""

from headway.engine.gauges import Gauges
from headway.engine.happenings import Finished, FirstToken, Happening, Rejected
from headway.engine.pairs import Pairs, Transfer
from headway.engine.profile import PRESETS, EngineProfile, preset
from headway.engine.server import Engine

__all__ = [
    "PRESETS",
    "Engine",
    "EngineProfile",
    "Finished",
    "FirstToken",
    "Gauges",
    "Happening",
    "Pairs",
    "Rejected",
    "Transfer",
    "preset",
]
