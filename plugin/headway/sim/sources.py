"""What a suite reads: data sets, trace files, journals, generated families; each once a process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.core.types import Seconds
from headway.sim.arrivals import Client
from headway.sim.cellstore import spec_digest
from headway.sim.families import generate
from headway.sim.suite import BodiesSpec, LabelsSpec
from headway.sim.trace import Trace
from headway.sim.tracefile import read_trace

Say = Callable[[str], None]


class ServedClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client of ServeGen as `arrivals.draw` takes it."""

    id: str
    windows: tuple[tuple[Seconds, float, float, str, float, float], ...]


class Sources:
    """Reads what specs name. `data` is the folder of data sets, `base` that of a suite's file."""

    def __init__(self, *, data: Path | None, base: Path | None, say: Say | None = None) -> None:
        self._data = data
        self._base = base or Path()
        self._say = say
        self._known: dict[str, Any] = {}

    def trace(self, spec: BodiesSpec, *, why: str) -> Trace:
        """The runs that `spec` names; `why` says who asks. Raises `ConfigError`."""
        found: Trace = self._once(["trace", spec], lambda: self._read(spec, why))
        return found

    def questions(self, spec: LabelsSpec, *, why: str) -> Trace:
        """The questions of a labelled set, with their chances. Raises `ConfigError`."""
        return self.trace(BodiesSpec(data=spec.data, where=spec.where), why=why)

    def azure(self, service: str, *, why: str) -> tuple[Seconds, ...]:
        """The instants of Azure's service."""
        from headway.sim.loaders.arrivals_data import AZURE, load_azure

        found: tuple[Seconds, ...] = self._once(
            ["azure", service],
            lambda: tuple(row[0] for row in load_azure(self._folder(AZURE, why), service)),
        )
        return found

    def servegen(self, *, why: str) -> tuple[Client, ...]:
        """The clients of ServeGen."""
        from headway.sim.loaders.arrivals_data import SERVEGEN, load_servegen

        found: tuple[Client, ...] = self._once(
            ["servegen"],
            lambda: tuple(
                ServedClient(
                    id=client.id,
                    windows=tuple(msgspec.structs.astuple(each) for each in client.windows),
                )
                for client in load_servegen(self._folder(SERVEGEN, why))
            ),
        )
        return found

    def _once(self, what: list[Any], make: Callable[[], Any]) -> Any:
        key = spec_digest(what)
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _read(self, spec: BodiesSpec, why: str) -> Trace:
        if spec.family:
            return generate(spec.family, runs=spec.bodies, seed=spec.seed)
        if spec.file:
            return _with_chances(read_trace(self._base / spec.file))
        if spec.journal:
            from headway.sim.loaders.journal import from_journal
            from headway.sim.loaders.recorded import stretched

            return stretched(from_journal(self._journals(spec.journal)), spec.speedup)
        from headway.sim.loaders import LOADERS, load

        if spec.data in LOADERS:  # an unknown name is the loader's to refuse, with the nearest
            self._folder(spec.data, why)
        return _with_chances(load(spec.data, self._data or Path(), where=spec.where or None))

    def _journals(self, name: str) -> tuple[Path, ...]:
        from headway.wire.journal import journals_in

        path = self._base / name
        found = tuple(journals_in(path)) if path.is_dir() else (path,)
        if not found:
            raise ConfigError(f"no journal in {path}: `headway up` writes headway-NNNNNN.journal")
        return found

    def _folder(self, name: str, why: str) -> Path:
        """The folder with the set of that name. Raises `ConfigError` if it is not there."""
        if self._data is None:
            raise ConfigError(
                f"{why} needs the data set `{name}`: give the folder that holds "
                f"{name}.PART.jsonl.gz with --data DIR (the suite `light` needs no data)"
            )
        if not self._data.is_dir():
            raise ConfigError(f"--data {self._data}: there is no such folder")
        if not any(self._data.glob(f"{name}.*jsonl*")):
            raise ConfigError(
                f"--data {self._data}: the data set `{name}`, which {why} needs, is missing: "
                f"no file is called {name}.PART.jsonl.gz"
            )
        if self._say is not None:
            self._say(f"reading {name}")
        return self._data


def _with_chances(trace: Trace) -> Trace:
    """The trace, with the chance of every label that other models' labels can tell."""
    if all(run.question is None for run in trace.runs):
        return trace
    from headway.sim.loaders.difficulty import with_chances

    return with_chances(trace)[0]
