"""What is shown and kept of a measured server: a table, and plain data."""

from typing import Any

from rich.console import Console
from rich.table import Table

from headway_vllm.profiling.measuring import Measured
from headway_vllm.profiling.poolfile import profile_of


def show(console: Console, measured: Measured) -> None:
    """The table, the profile, and what was found beside it."""
    table = Table(title=f"{measured.model}: measured and fitted", title_justify="left")
    for column in ("point", "measured", "fitted", "off by"):
        table.add_column(column, justify="left" if column == "point" else "right")
    fitted = measured.fitted
    rows = [
        *(
            (f"prefill of {point.prompt_tokens} tokens", point.seconds, error)
            for point, error in zip(measured.prefill, fitted.prefill_errors, strict=True)
        ),
        *(
            (
                f"step of {point.sequences}, {point.context_tokens} tokens in all",
                point.seconds,
                error,
            )
            for point, error in zip(measured.decode, fitted.decode_errors, strict=True)
        ),
    ]
    for name, seconds, error in rows:
        expected = seconds * (1 + error)
        table.add_row(name, f"{1e3 * seconds:.1f} ms", f"{1e3 * expected:.1f} ms", f"{error:+.1%}")
    console.print(table)
    written = ", ".join(f"{name}: {value}" for name, value in profile_of(measured).items())
    console.print(f"profile: {{{written}}}", markup=False)
    console.print(f"beside its steps a request takes {1e3 * measured.overhead_s:.1f} ms (rtt)")
    heeds = {
        True: "it serves its queue by priority (proved by order)",
        False: "it IGNORES priorities: start vLLM with --scheduling-policy priority",
        None: f"whether it heeds priorities is not known: {measured.unproved or 'not asked'}",
    }
    console.print(heeds[measured.heeds_urgency], soft_wrap=True)


def as_data(measured: Measured) -> dict[str, Any]:
    """Points and fit as plain data."""
    return {
        "model": measured.model,
        "profile": profile_of(measured),
        "rtt": measured.overhead_s,
        "heeds_urgency": measured.heeds_urgency,
        "step_tokens": measured.limits.step_tokens,
        "prefill": [
            {"prompt_tokens": point.prompt_tokens, "seconds": point.seconds, "error": error}
            for point, error in zip(measured.prefill, measured.fitted.prefill_errors, strict=True)
        ],
        "decode": [
            {
                "sequences": point.sequences,
                "context_tokens": point.context_tokens,
                "seconds": point.seconds,
                "error": error,
            }
            for point, error in zip(measured.decode, measured.fitted.decode_errors, strict=True)
        ],
    }
