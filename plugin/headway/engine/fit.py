"""A profile's times from measurements of a real server, by least squares.

Errors count relative to the measured time, so that a short step weighs as
much as a long one. No time may be negative: of all choices of coefficients
that are zero, the best whose others are positive is taken, which with three of
them can be done by trying (non-negative least squares by enumeration).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from headway.core.errors import ConfigError
from headway.core.types import Seconds
from headway.engine.profile import EngineProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillPoint:
    """Seconds until the first token of a prompt that is alone on the server, nothing cached."""

    prompt_tokens: int
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodePoint:
    """Seconds of a decode step of `sequences` that have `context_tokens` in all."""

    sequences: int
    context_tokens: int
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Fitted times, in the words of `EngineProfile`, and how well they fit.

    The errors are (fitted - measured) / measured, one per point in the order given.
    """

    prefill_s: Seconds
    step_s: Seconds
    seq_s: Seconds
    context_s: Seconds
    prefill_errors: tuple[float, ...]
    decode_errors: tuple[float, ...]

    @property
    def worst_error(self) -> float:
        """The largest relative error of a point, without its sign."""
        return max(abs(error) for error in (*self.prefill_errors, *self.decode_errors))

    def profile(
        self,
        *,
        seats: int = 256,
        kv_tokens: int = 1 << 20,
        block_tokens: int = 16,
        step_tokens: int = 2048,
    ) -> EngineProfile:
        """A profile with these times and the sizes given."""
        return EngineProfile(
            prefill_s=self.prefill_s,
            step_s=self.step_s,
            seq_s=self.seq_s,
            context_s=self.context_s,
            seats=seats,
            kv_tokens=kv_tokens,
            block_tokens=block_tokens,
            step_tokens=step_tokens,
        )


def fit(
    *,
    prefill: Sequence[PrefillPoint],
    decode: Sequence[DecodePoint],
    step_tokens: int = 2048,
) -> Fit:
    """The times that explain the points best; `step_tokens` is the server's budget of a step.

    Raises ConfigError for fewer than 2 prefill or 4 decode points, for points
    that cannot tell the times apart (the same batch or context each time), and
    for measurements that are not above zero.
    """
    _check(prefill, decode)
    rows = [
        ((1.0, float(point.sequences), float(point.context_tokens)), point.seconds)
        for point in decode
    ]
    step_s, seq_s, context_s = _non_negative(rows)
    if step_s <= 0:
        raise ConfigError(
            "the decode points leave no time for a step itself; measure small batches too"
        )
    prefill_s = _prefill_s(prefill, step_s, step_tokens)
    fitted = Fit(
        prefill_s=prefill_s,
        step_s=step_s,
        seq_s=seq_s,
        context_s=context_s,
        prefill_errors=(),
        decode_errors=(),
    ).profile(step_tokens=step_tokens)
    return Fit(
        prefill_s=prefill_s,
        step_s=step_s,
        seq_s=seq_s,
        context_s=context_s,
        prefill_errors=tuple(
            fitted.alone_s(prompt_tokens=point.prompt_tokens, output_tokens=1) / point.seconds - 1
            for point in prefill
        ),
        decode_errors=tuple(
            fitted.step_time_s(sequences=point.sequences, context_tokens=point.context_tokens)
            / point.seconds
            - 1
            for point in decode
        ),
    )


def _check(prefill: Sequence[PrefillPoint], decode: Sequence[DecodePoint]) -> None:
    if len(prefill) < 2 or len(decode) < 4:
        raise ConfigError(
            f"{len(prefill)} prefill and {len(decode)} decode points are too few; "
            "at least 2 and 4 are needed"
        )
    if min(*(one.seconds for one in prefill), *(one.seconds for one in decode)) <= 0:
        raise ConfigError("a measured time must be above zero")
    if min(point.prompt_tokens for point in prefill) < 1:
        raise ConfigError("a prefill point needs at least one prompt token")
    if min(point.sequences for point in decode) < 1:
        raise ConfigError("a decode point needs at least one sequence")
    if min(point.context_tokens for point in decode) < 0:
        raise ConfigError("context_tokens of a decode point must not be negative")
    if len({point.prompt_tokens for point in prefill}) < 2:
        raise ConfigError("the prefill points need at least two lengths of prompt")


def _prefill_s(points: Sequence[PrefillPoint], step_s: Seconds, step_tokens: int) -> Seconds:
    """Seconds a prompt token, from the prompts that take longer than reading the weights.

    A prompt takes its steps one after the other, each at least `step_s`; a
    last, short one is bound by the weights and is taken off. Which ones are
    depends on the result, so it is found by repetition.
    """
    token_s = max(point.seconds / point.prompt_tokens for point in points)
    for _ in range(50):
        rows = []
        for point in points:
            full, rest = divmod(point.prompt_tokens, step_tokens)
            chunks = [step_tokens] * full + ([rest] if rest else [])
            bound = [tokens for tokens in chunks if tokens * token_s > step_s]
            if bound:
                left = point.seconds - (len(chunks) - len(bound)) * step_s
                rows.append((sum(bound) / point.seconds, left / point.seconds))
        if not rows:
            raise ConfigError(
                "no prefill point takes longer than a decode step; measure longer prompts"
            )
        found = sum(x * y for x, y in rows) / sum(x * x for x, _ in rows)
        if abs(found - token_s) <= 1e-12 * token_s:
            break
        token_s = found
    if token_s <= 0:
        raise ConfigError("prefill does not take longer with longer prompts; measure longer ones")
    return token_s


def _non_negative(rows: Sequence[tuple[tuple[float, ...], float]]) -> tuple[float, ...]:
    """Coefficients >= 0 with the least squared relative error. Raises ConfigError if unclear."""
    width = len(rows[0][0])
    scaled = [(tuple(value / seconds for value in values), 1.0) for values, seconds in rows]
    sizes = [max(values[column] for values, _ in scaled) for column in range(width)]
    if min(sizes) <= 0:
        raise ConfigError("the decode points need some with context; measure longer contexts too")
    scaled = [
        (tuple(value / size for value, size in zip(values, sizes, strict=True)), one)
        for values, one in scaled
    ]
    best: tuple[float, tuple[float, ...]] | None = None
    for count in range(width, 0, -1):
        for columns in combinations(range(width), count):
            solved = _solve(scaled, columns)
            if solved is None:
                if count == width:
                    raise ConfigError(
                        "the decode points cannot tell the times apart; vary the number of "
                        "sequences and the context of each independently"
                    )
                continue
            if min(solved) < 0:
                continue
            full = [0.0] * width
            for column, value in zip(columns, solved, strict=True):
                full[column] = value
            loss = sum(
                (sum(a * b for a, b in zip(full, values, strict=True)) - one) ** 2
                for values, one in scaled
            )
            if best is None or loss < best[0]:
                best = (loss, tuple(a / b for a, b in zip(full, sizes, strict=True)))
    # One column alone always has a solution above zero.
    assert best is not None
    return best[1]


def _solve(
    rows: Sequence[tuple[tuple[float, ...], float]], columns: tuple[int, ...]
) -> list[float] | None:
    """Least squares over some columns by the normal equations; None if they are singular."""
    size = len(columns)
    matrix = [
        [sum(values[i] * values[j] for values, _ in rows) for j in columns]
        + [sum(values[i] * one for values, one in rows)]
        for i in columns
    ]
    limit = 1e-10 * max(matrix[i][i] for i in range(size))
    for pivot in range(size):
        largest = max(range(pivot, size), key=lambda row: abs(matrix[row][pivot]))
        matrix[pivot], matrix[largest] = matrix[largest], matrix[pivot]
        if abs(matrix[pivot][pivot]) < limit:
            return None
        for row in range(size):
            if row != pivot:
                factor = matrix[row][pivot] / matrix[pivot][pivot]
                matrix[row] = [
                    a - factor * b for a, b in zip(matrix[row], matrix[pivot], strict=True)
                ]
    return [matrix[row][size] / matrix[row][row] for row in range(size)]
