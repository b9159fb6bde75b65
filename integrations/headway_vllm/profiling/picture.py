"""Fit against points, as a picture."""

from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from headway.engine import EngineProfile
from headway_vllm.profiling.measuring import Measured


def draw(measured: Measured, path: Path) -> None:
    """Two panels: prefill by prompt length, a decode step by batch, for each context."""
    matplotlib.rcParams["svg.hashsalt"] = "headway"
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    prefill, decode = figure.subplots(1, 2)
    profile = measured.fitted.profile(step_tokens=measured.limits.step_tokens)
    tokens = [one.prompt_tokens for one in measured.prefill]
    line = [max(tokens) * place / 50 for place in range(1, 51)]
    prefill.plot(line, [1e3 * _prefill_s(profile, round(one)) for one in line], color="#2a6fb0")
    prefill.plot(tokens, [1e3 * one.seconds for one in measured.prefill], "o", color="#222222")
    prefill.set(xlabel="prompt, tokens", ylabel="first token, ms", title="prefill")
    _decode(decode, measured, profile)
    figure.suptitle(f"{measured.model}: points measured, lines fitted", fontsize=10)
    figure.savefig(path, dpi=140)


def _decode(axes: "matplotlib.axes.Axes", measured: Measured, profile: EngineProfile) -> None:
    groups: dict[int, list[tuple[int, float, int]]] = {}
    for one in measured.decode:
        each = one.context_tokens / one.sequences
        group = groups.setdefault(round(each / 512), [])
        group.append((one.sequences, one.seconds, one.context_tokens))
    for colour, points in zip(("#2a6fb0", "#c05a2b", "#3a8a4d"), groups.values(), strict=False):
        batches = [batch for batch, _, _ in points]
        each = sum(context / batch for batch, _, context in points) / len(points)
        steps = [
            1e3 * profile.step_time_s(sequences=batch, context_tokens=context)
            for batch, _, context in points
        ]
        axes.plot(batches, steps, color=colour, label=f"about {each:.0f} tokens each")
        axes.plot(batches, [1e3 * seconds for _, seconds, _ in points], "o", color=colour)
    axes.set(xlabel="sequences decoded at once", ylabel="step, ms", title="decode", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)


def _prefill_s(profile: EngineProfile, prompt_tokens: int) -> float:
    return profile.alone_s(prompt_tokens=prompt_tokens, output_tokens=1)
