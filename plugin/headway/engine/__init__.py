"""How a continuous-batching inference server behaves, in pure arithmetic.

`EngineProfile` says how fast and how large a server is, `Engine` what it does
with requests over time. Shared by the emulator (wall time) and the simulator
(virtual time); it is the truth that the scheduler's beliefs are judged
against, so nothing that schedules may import it. No clock, no IO.
"""

from headway.engine.happenings import Finished, FirstToken, Happening, Rejected
from headway.engine.profile import PRESETS, EngineProfile
from headway.engine.server import Engine, Gauges

__all__ = [
    "PRESETS",
    "Engine",
    "EngineProfile",
    "Finished",
    "FirstToken",
    "Gauges",
    "Happening",
    "Rejected",
]
