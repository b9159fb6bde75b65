"""docs/validity.md: made of the results alone, losses included."""

from collections.abc import Iterator
from statistics import fmean

from tests.vllm.gate.comparing import (
    JITTER_S,
    MOST_SLIPPED,
    STEADY,
    VIRTUAL_PLAYS,
    WILD,
    Pair,
)
from tests.vllm.gate.profiled import KEYS
from tests.vllm.gate.results import BOUNDS, Results, gains, swapped
from tests.vllm.gate.setting import EARLY, HEADWAY, LITELLM, OTHER_RUNS, SHARE

NAMES = {
    HEADWAY: "Headway",
    EARLY: "bound at once",
    LITELLM: "LiteLLM",
}


def page(results: Results, *, scatter: str, release: str) -> str:
    """The page as Markdown; `scatter` and `release` are where its pictures are."""
    parts = [
        *_opening(results),
        *_gate(results),
        f"![live against virtual time, every cell]({scatter})\n",
        *_orders(results),
        *_gains(results),
        *_release(results, release),
        *_profiles(results),
        *_reading(results),
    ]
    return "\n".join(parts)


def _opening(results: Results) -> Iterator[str]:
    yield "# Is the laboratory right? Real vLLM against virtual time\n"
    yield f"<!-- made by `{results.command}`: do not edit -->\n"
    yield (
        "The same runs are played twice: on real vLLM servers through the daemon (or LiteLLM's own "
        "Router), and in virtual time with the profiles that `headway profile` fitted to those "
        "servers. The virtual side is told nothing of how these runs went live; what a call takes "
        "beside its engine is measured on other runs (below), by the servers' own clocks. All of "
        "a server is real (queue, priorities, KV blocks, prefix cache, chunked prefill, "
        "preemption, HTTP) but its arithmetic, whose time is imitated: a tiny model waits after "
        "each step.\n"
    )
    yield (
        f"Made by `{results.command}` at commit {results.commit} on {results.machine} with vLLM "
        f"{results.vllm} and LiteLLM {results.litellm}, seed {results.seed}"
        + (", SHORTENED: too few runs to believe.\n" if results.quick else ".\n")
    )


def _gate(results: Results) -> Iterator[str]:
    passed = sum(pair.passes for pair in results.pairs)
    off = [abs(pair.mean_error) for pair in results.pairs]
    tails = [abs(pair.p99_error) for pair in results.pairs]
    yield "## The gate\n"
    yield (
        f"Bounds: {BOUNDS}. {passed} of {len(results.pairs)} cells are within both; on average "
        f"the mean is off by {fmean(off):.1%} (at most {max(off):.1%}), the P99 by "
        f"{fmean(tails):.1%} (at most {max(tails):.1%}).\n"
    )
    usual = [pair.usual for pair in results.pairs]
    spread = [_spread(pair) for pair in results.pairs]
    yield (
        "A busy pool is chaotic: single plays in virtual time whose runs come some milliseconds "
        f"later differ from one another by {fmean(one for one, _ in spread):.1%} in the mean and "
        f"{fmean(one for _, one in spread):.1%} in the P99 (lowest to highest of "
        f"{VIRTUAL_PLAYS}, average over the cells). What was lived is within that range in "
        f"{sum(one for one, _ in usual)} of {len(usual)} cells by the mean and in "
        f"{sum(one for _, one in usual)} by the P99.\n"
    )
    yield (
        "| cell | policy | plays | runs | calls | mean of runs, live / virtual | off | P99 of "
        "calls, live [95 %] / virtual | off | late | CPU | within | commit, live / virtual |"
    )
    yield "| --- | --- |" + " ---: |" * 9 + " --- | --- |"
    for pair in results.pairs:
        yield _row(pair)
    yield ""
    late = [pair for pair in results.pairs if not pair.green]
    if late:
        yield (
            f"NOT VALID: in {len(late)} cells a server was later than {MOST_SLIPPED:.0%} of its "
            "time; the machine was too busy.\n"
        )


def _spread(pair: Pair) -> tuple[float, float]:
    """How far apart the virtual plays are, as shares of all together."""
    found = pair.virtual
    means, tails = (high - low for low, high in (found.mean_range, found.p99_range))
    return means / found.mean_s, tails / found.p99_s


def _row(pair: Pair) -> str:
    low, high = pair.p99_interval
    return (
        f"| {pair.cell} | {NAMES[pair.policy]} | {pair.plays} | {pair.runs} | {pair.calls} | "
        f"{pair.live_mean_s:.2f} / {pair.virtual.mean_s:.2f} s | {pair.mean_error:+.1%} | "
        f"{pair.live_p99_s:.2f} [{low:.2f} to {high:.2f}] / {pair.virtual.p99_s:.2f} s | "
        f"{pair.p99_error:+.1%} | {pair.slipped:.2%} | {pair.cpu:.0%} | "
        f"{'yes' if pair.passes else '**no**'} | {pair.lived_at[:7]} / {pair.virtual_at[:7]} |"
    )


def _orders(results: Results) -> Iterator[str]:
    yield "## The order of policies\n"
    found = list(swapped(results.cells))
    if not found:
        yield "By mean completion the order is the same in both worlds, in every cell.\n"
        return
    for swap in found:
        one, other = (NAMES[name] for name in swap.policies)
        yield (
            f"* {swap.cell}: {one} took {swap.live:.3f} of {other} live, {swap.virtual:.3f} in "
            "virtual time."
        )
    yield ""


def _gains(results: Results) -> Iterator[str]:
    yield "## Headway's gain: what was predicted, what came\n"
    yield "Mean completion of the rival over Headway's (above 1: Headway is faster).\n"
    yield "| cell | rival | live | virtual | within the stated error |"
    yield "| --- | --- | ---: | ---: | --- |"
    for gain in gains(results.cells):
        yield (
            f"| {gain.cell} | {NAMES[gain.rival]} | {gain.live:.3f} | {gain.virtual:.3f} | "
            f"{'yes' if gain.within else '**no**'} |"
        )
    yield ""


def _release(results: Results, picture: str) -> Iterator[str]:
    yield "## What late release is worth on the real engine\n"
    yield (
        "Headway as it is; the same order and prices, but each call bound when it is ready and "
        "left to vLLM's own priority queue (`headway+early`); and LiteLLM's Router with "
        "`least-busy`. All live. Loads are in knees of LiteLLM's least-busy: the arrival rate at "
        "which its mean completion is three times that of an idle pool.\n"
    )
    yield "| cell | " + " | ".join(f"{name}: mean, P95 of runs" for name in NAMES.values()) + " |"
    yield "| --- |" + " ---: |" * len(NAMES)
    for cell, by_policy in results.cells.items():
        best = min(by_policy.values(), key=lambda pair: pair.live_mean_s)
        told = []
        for policy in NAMES:
            pair = by_policy[policy]
            text = f"{pair.live_mean_s:.2f}, {pair.live_p95_s:.2f} s"
            told.append(f"**{text}**" if pair is best else text)
        yield f"| {cell} | " + " | ".join(told) + " |"
    yield f"\n![completion under the three policies, live and virtual]({picture})\n"


def _profiles(results: Results) -> Iterator[str]:
    yield "## What `headway profile` found\n"
    yield "Fitted / true. The true times are what the servers were paced by.\n"
    yield "| endpoint | " + " | ".join(f"`{key}`" for key in KEYS) + " | overhead of a request |"
    yield "| --- |" + " ---: |" * (len(KEYS) + 1)
    for name, rows in results.fitted.items():
        for row in rows:
            told = [f"{row[key]:.3g} / {row[f'true_{key}']:.3g}" for key in KEYS]
            yield (
                f"| {name}: {row['endpoint']} | "
                + " | ".join(told)
                + f" | {1000 * row['rtt_s']:.1f} ms |"
            )
    yield ""


def _reading(results: Results) -> Iterator[str]:
    yield "## How to read this\n"
    for name, about in results.stands.items():
        yield f"* Pool `{name}`: {about}."
    for name, about in dict.fromkeys(
        (pair.cell.partition("/")[2].partition(" ")[0], pair.about) for pair in results.pairs
    ):
        yield f"* Runs `{name}`: {about}; generated, answers and tool times {SHARE:g} of that."
    yield (
        "* Arrivals are the same in both worlds. As a busy pool is chaotic, the virtual side is "
        f"{VIRTUAL_PLAYS} plays whose runs come up to {1000 * JITTER_S:.0f} ms later, together; "
        "the live side is as many such plays as the table says: one, two where the virtual P99s "
        f"spread by more than {STEADY:.0%} (standard deviation), three above {WILD:.0%}. That was "
        "decided before the first of them."
    )
    told = ", ".join(
        f"{NAMES[policy]} {_by_cell(results, policy)} ms" for policy in (HEADWAY, LITELLM)
    )
    late = "/".join(
        f"{1000 * by_policy[LITELLM].heard_late_s:.0f}" for by_policy in results.cells.values()
    )
    yield (
        "* A call is charged what its way takes beside the engine (asking, HTTP, this machine's "
        f"work), measured on {OTHER_RUNS} other runs at the cell's load: what their calls took in "
        "all, less the time from a request's arrival at a server to its end there, by the servers' "
        "own metrics; and what idle servers take besides waiting and running. Headway's two ways "
        f"are one, measured bound at once (cell by cell: {told}). "
        "LiteLLM's Router counts an answer down when its logging comes to it, in the same runs "
        f"{late} ms later: so does the virtual one."
    )
    yield (
        "* `late` is by how much the latest server was slower than its pace, over its time; above "
        f"{MOST_SLIPPED:.0%} a cell is not valid."
    )
    yield (
        "* The P99's interval is a bootstrap over the live calls. A call's latency is from being "
        "ready to being answered: waiting in the daemon's queue and in the engine's included.\n"
    )


def _by_cell(results: Results, policy: str) -> str:
    return "/".join(
        f"{1000 * by_policy[policy].charged_s:.0f}" for by_policy in results.cells.values()
    )
