"""The emulated pool of the samples and the demo: three models, seven endpoints, one pool name.

Three 7B-like servers on one accelerator each, two 32B-like on two each, two
72B-like on four each; the more accelerators, the more memory is left for KV,
and the more sequences a server is let run at once.
The pool file that is made of it is an ordinary ``headway.yaml`` with an
``emulate`` section.
"""

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headway.engine.profile import PRESETS
from headway_samples.sample import POOL_NAME

SMALL, MIDDLE, LARGE = "emu-7b", "emu-32b", "emu-72b"
MODELS = (SMALL, MIDDLE, LARGE)
SEATS = {SMALL: 2, MIDDLE: 3, LARGE: 4}
"""Sequences that each server runs at once: few, so that two cores can keep the pool busy."""
PRIORS = {SMALL: 0.5, MIDDLE: 0.65, LARGE: 0.75}
"""What a user would guess of the models before any run: roughly right, not exact."""

SKILLS = {SMALL: 0.42, MIDDLE: 0.64, LARGE: 0.72}
"""How skilled the emulated models are (headway.emulate.skill); nobody but the emulator reads it."""

IDLE_GRACE_S = 2.0
"""Headway's default; like all times of the pool it shrinks with the speed-up."""

_PRESET = {
    SMALL: "qwen2.5-7b@a100",
    MIDDLE: "qwen2.5-32b@a100",
    LARGE: "qwen2.5-72b@a100",
}
COUNT = {SMALL: 3, MIDDLE: 2, LARGE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One emulated endpoint and where it listens."""

    id: str
    model: str
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePool:
    """The pool of one demo or sample run; `speedup` emulated seconds pass in a wall second."""

    endpoints: tuple[Endpoint, ...]
    speedup: float

    def of(self, *models: str) -> tuple[tuple[str, str, str], ...]:
        """(endpoint id, base URL, model) of the endpoints that serve one of `models`."""
        return tuple(
            (each.id, each.url, each.model) for each in self.endpoints if each.model in models
        )

    @property
    def idle_grace_s(self) -> float:
        """How long an endpoint may idle for a better one, in wall seconds."""
        return IDLE_GRACE_S / self.speedup

    def write(self, path: Path) -> Path:
        """Write the pool file. Times in its profiles are wall seconds, so `speedup` is in them."""
        path.write_text(yaml.safe_dump(self._content(), sort_keys=False))
        return path

    def _content(self) -> dict[str, Any]:
        return {
            "endpoints": [
                {
                    "id": each.id,
                    "url": each.url,
                    "model": each.model,
                    "engine": "emulated",
                    "profile": self.profile(each.model),
                }
                for each in self.endpoints
            ],
            "models": {POOL_NAME: {"any_of": list(MODELS), "idle_grace_s": self.idle_grace_s}},
            "quality": dict(PRIORS),
            "emulate": {
                "speedup": self.speedup,
                "answers": "headway_samples.answers:answers",
                "endpoints": {
                    each.id: {
                        "preset": _PRESET[each.model],
                        "seats": SEATS[each.model],
                        "skill": SKILLS[each.model],
                    }
                    for each in self.endpoints
                },
            },
        }

    def profile(self, model: str) -> dict[str, Any]:
        """What a user would write down of an endpoint's speed, in wall seconds."""
        true = PRESETS[_PRESET[model]]
        return {
            "prefill_s": true.prefill_s / self.speedup,
            "step_s": true.step_s / self.speedup,
            "seq_s": true.seq_s / self.speedup,
            "context_s": true.context_s / self.speedup,
            "seats": SEATS[model],
            "kv_tokens": true.kv_tokens,
        }

    def tokens_per_s(self) -> float:
        """Output tokens per emulated second of the whole pool with every seat taken."""
        total = 0.0
        for each in self.endpoints:
            true = PRESETS[_PRESET[each.model]]
            seats = SEATS[each.model]
            total += seats / (true.step_s + seats * true.seq_s)
        return total


def make_pool(*, speedup: float) -> SamplePool:
    """The pool on ports that are free now."""
    models = [model for model in MODELS for _ in range(COUNT[model])]
    ports = _free_ports(len(models))
    counted: dict[str, int] = {}
    endpoints = []
    for model, port in zip(models, ports, strict=True):
        counted[model] = counted.get(model, 0) + 1
        endpoints.append(Endpoint(id=f"{model}-{counted[model]}", model=model, port=port))
    return SamplePool(endpoints=tuple(endpoints), speedup=speedup)


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: all held at once, so that they differ."""
    with ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports
