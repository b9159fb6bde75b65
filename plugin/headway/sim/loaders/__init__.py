"""Loaders: public sets, Headway's journals and OTLP exports as traces.

`load` reads a set by name from a folder; `LOADERS` is the table of all sets. Arrivals that
are no runs are in `arrivals_data`, success chances in `difficulty`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from headway.core.errors import ConfigError, nearest
from headway.sim.loaders import (
    agentcgroup,
    agentdojo,
    arrivals_data,
    autocoderover,
    chatdev,
    labels,
    lmcache,
    mapcoder,
    tau,
    text2sql,
    weka,
    whoandwhen,
)
from headway.sim.loaders.rows import Progress, Rows
from headway.sim.loaders.summary import statistics
from headway.sim.trace import Trace, TraceRun
from headway.sim.tracefile import fault

__all__ = ["LOADERS", "SOURCES", "Loader", "load", "statistics"]

Loader = Callable[[Rows], Iterator[TraceRun]]
"""Makes runs of a set's rows, one after the other."""

LOADERS: dict[str, Loader] = {
    "agentcgroup_swe_tools": agentcgroup.agentcgroup,
    "agentdojo_runs": agentdojo.agentdojo,
    "alpaca_lengths": labels.alpaca,
    "arena_openended": labels.arena,
    "autocoderover_swebench": autocoderover.autocoderover,
    "azure_llm_2023": arrivals_data.azure,
    "chatdev_multiagent": chatdev.chatdev,
    "lmcache_agent_text": lmcache.lmcache,
    "mapcoder_workflows": mapcoder.mapcoder,
    "mmlupro_routing": labels.mmlupro,
    "mooncake_fast25": arrivals_data.mooncake,
    "routellm_labels": labels.routellm,
    "tau_dialog_workflows": tau.tau,
    "text2sql_dag": text2sql.text2sql,
    "weka_agentic_coding": weka.weka,
    "whoandwhen_multiagent": whoandwhen.whoandwhen,
    "zeroeval_routing": labels.zeroeval,
}

SOURCES: dict[str, str] = {
    "agentcgroup_swe_tools": agentcgroup.SOURCE,
    "agentdojo_runs": agentdojo.SOURCE,
    "alpaca_lengths": labels.ALPACA_SOURCE,
    "arena_openended": labels.ARENA_SOURCE,
    "autocoderover_swebench": autocoderover.SOURCE,
    "azure_llm_2023": arrivals_data.AZURE_SOURCE,
    "chatdev_multiagent": chatdev.SOURCE,
    "lmcache_agent_text": lmcache.SOURCE,
    "mapcoder_workflows": mapcoder.SOURCE,
    "mmlupro_routing": labels.MMLUPRO_SOURCE,
    "mooncake_fast25": arrivals_data.MOONCAKE_SOURCE,
    "routellm_labels": labels.ROUTELLM_SOURCE,
    "tau_dialog_workflows": tau.SOURCE,
    "text2sql_dag": text2sql.SOURCE,
    "weka_agentic_coding": weka.SOURCE,
    "whoandwhen_multiagent": whoandwhen.SOURCE,
    "zeroeval_routing": labels.ZEROEVAL_SOURCE,
}
"""Who to thank for each set: it goes into every report."""


def load(
    name: str,
    folder: Path,
    *,
    where: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Trace:
    """The set `name` from all its files ``NAME.PART.jsonl(.gz)`` in `folder`.

    `where` keeps the rows whose fields equal the values given (``{"variant": "agile"}``).
    Runs with a recorded arrival are in that order, others in the order of the files. Raises
    `ConfigError` for an unknown set, a missing file, an unknown field and a selection of
    nothing; `TraceError`, with file and line, for a row that is wrong.
    """
    loader = LOADERS.get(name)
    if loader is None:
        raise ConfigError(f"no set `{name}`{nearest(name, LOADERS)}")
    rows = Rows(name, folder, where=where, progress=progress)
    runs: list[TraceRun] = []
    place_of: dict[str, str] = {}
    for run in loader(rows):
        if wrong := fault(run):
            raise rows.wrong(f"run {run.id!r}: {wrong}")
        if run.id in place_of:
            raise rows.wrong(f"run {run.id!r} is at {place_of[run.id]} already")
        place_of[run.id] = rows.place
        runs.append(run)
    if not runs:
        raise rows.nothing()
    if all(run.arrival_s is not None for run in runs):
        runs.sort(key=lambda run: run.arrival_s or 0.0)
    return Trace(name=name, source=SOURCES[name], runs=tuple(runs), digest=rows.digest)
