"""Stand-alone times: how long a run takes alone on the pool, and what a pool can hold and bear.

Every call on the reference model (or the one it is bound to), on the best site of that model,
alone, with a cold cache, along the true DAG with its tool times; a person's pauses do not
count. Computed once and shared by all policies of a cell: the ground of slowdowns and deadlines.
"""

import math
from collections.abc import Iterable

from headway.core.errors import ConfigError
from headway.core.types import Seconds
from headway.sim.luck import Luck
from headway.sim.plans import WORDS_ABOUT_A_FAILURE
from headway.sim.pools import SimPool, Site
from headway.sim.trace import TraceNode, TraceRun


class Alone:
    """The stand-alone times on one pool. `max_tokens` limits calls without a limit of their own."""

    def __init__(self, pool: SimPool, *, max_tokens: int) -> None:
        self._pool = pool
        self._max_tokens = max_tokens
        self._of_nodes: dict[int, tuple[tuple[TraceNode, ...], Seconds]] = {}

    def __len__(self) -> int:
        """How many bodies' times are kept."""
        return len(self._of_nodes)

    def call_s(self, prompt_tokens: int, output_tokens: int, model: str = "") -> Seconds:
        """Seconds of one call alone on the best site of `model` (default: the reference)."""
        wanted = model or self._pool.reference
        sites = [site for site in self._pool.sites if site.model == wanted]
        if not sites:
            raise ConfigError(f"pool {self._pool.name}: nothing serves {wanted!r}")
        return min(_alone_s(site, prompt_tokens, output_tokens) for site in sites)

    def dag_s(self, run: TraceRun) -> Seconds:
        """Seconds along the longest path of a recorded DAG."""
        known = self._of_nodes.get(id(run.nodes))  # a run with another question shares them
        if known is not None:
            return known[1]
        ends: list[Seconds] = []
        for node in run.nodes:
            at = max((ends[parent] for parent in node.parents), default=0.0) + node.tool_s
            if node.prompt_tokens:
                model = node.model or self._pool.reference
                written = node.outputs.get(model, node.output_tokens)
                limit = node.max_tokens or self._max_tokens
                at += self.call_s(node.prompt_tokens, max(1, min(written, limit)), model)
            ends.append(at)
        longest = max(ends, default=0.0)
        self._of_nodes[id(run.nodes)] = (run.nodes, longest)  # kept, so the id stays theirs
        return longest

    def question_s(self, instance: str, *, luck: Luck, attempts: int, pause_s: Seconds) -> Seconds:
        """Seconds until the reference model's answer is taken, or the attempts are spent."""
        prompt_tokens = luck.question(instance).prompt_tokens
        spent = 0.0
        for attempt in range(1, attempts + 1):
            answer = luck.answer(instance, self._pool.reference, attempt - 1)
            written = max(1, min(answer.output_tokens, self._max_tokens))
            right = answer.ok and answer.output_tokens <= self._max_tokens
            spent += self.call_s(prompt_tokens, written)
            if luck.verdict(instance, attempt, right) or attempt == attempts:
                break
            prompt_tokens += written + WORDS_ABOUT_A_FAILURE
            spent += pause_s
        return spent


def _alone_s(site: Site, prompt_tokens: int, output_tokens: int) -> Seconds:
    whole = site.profile.alone_s(prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    if site.prefill is None:
        return whole
    decode_s = whole - site.profile.alone_s(prompt_tokens=prompt_tokens, output_tokens=1)
    prefill_s = site.prefill.alone_s(prompt_tokens=prompt_tokens, output_tokens=1)
    return prefill_s + prompt_tokens * site.transfer_s + decode_s


def check_room(runs: Iterable[TraceRun], pool: SimPool, *, max_tokens: int, trace: str) -> None:
    """Raises `ConfigError` for a call that no site of the pool could ever hold."""
    room: dict[str, int] = {}
    for site in pool.sites:
        held = min(site.profile.kv_tokens, site.context_tokens or site.profile.kv_tokens)
        for model in (site.model, ""):
            room[model] = max(room.get(model, 0), held)
    for run in runs:
        for node in run.nodes:
            written = max(node.output_tokens, *node.outputs.values(), 1)
            needed = node.prompt_tokens + min(written, node.max_tokens or max_tokens)
            if node.prompt_tokens and needed > room.get(node.model, 0):
                raise ConfigError(_no_room(trace, run.id, needed, pool, room.get(node.model, 0)))
        if run.question is not None and run.question.prompt_tokens > room[""]:
            needed = run.question.prompt_tokens
            raise ConfigError(_no_room(trace, run.id, needed, pool, room[""]))


def _no_room(trace: str, run: str, needed: int, pool: SimPool, room: int) -> str:
    return (
        f"trace {trace}: run {run!r} needs {needed:,} tokens for one call, and no endpoint of pool "
        f"{pool.name} holds more than {room:,}: take larger servers, or leave such runs out "
        "with max_prompt_tokens"
    )


def capacity(calls: Iterable[tuple[int, int]], runs: int, pool: SimPool) -> float:
    """Runs a second that the pool bears, roughly: the first guess of a search for the knee.

    `calls` are (prompt, output) tokens of all calls of `runs` runs.
    """
    known = list(calls)
    prompt = sum(one for one, _ in known)
    output = sum(other for _, other in known)
    if not known or not runs:
        raise ConfigError(f"pool {pool.name}: a workload without calls has no knee")
    context = (prompt + output / 2) / len(known)
    rate = 0.0
    servers: set[str] = set()
    for site in pool.sites:
        if (server := site.server or site.id) in servers:
            continue
        servers.add(server)
        profile = site.profile
        batch = max(1, min(profile.seats, int(profile.kv_tokens / max(1.0, context))))
        step_s = profile.step_time_s(sequences=batch, context_tokens=int(batch * context))
        prefill_s = 0.0 if site.prefill is not None else prompt * profile.prefill_s
        rate += runs / max(1e-9, output * step_s / batch + prefill_s)
    return rate if math.isfinite(rate) else 1.0
