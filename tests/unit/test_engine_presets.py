"""Profiles by name and by measurement."""

import random

import pytest

from headway.core.errors import ConfigError
from headway.engine import PRESETS, preset
from headway.engine.fit import DecodePoint, PrefillPoint, fit
from headway.engine.hardware import A100, HARDWARE
from headway.engine.models import MODELS
from headway.engine.profile import roofline


def test_names_without_a_number_mean_one_accelerator_but_for_the_old_ones():
    assert preset("qwen2.5-7b@a100") == preset("qwen2.5-7b@a100x1") == PRESETS["qwen2.5-7b@a100"]
    assert preset("qwen2.5-32b@a100") == preset("qwen2.5-32b@a100x2")
    assert preset("qwen2.5-72b@a100") == preset("qwen2.5-72b@a100x4")
    assert preset("qwen2.5-32b@h100") == preset("qwen2.5-32b@h100x1")
    assert preset("qwen2.5-32b@a100x1") == roofline(shape=MODELS["qwen2.5-32b"], hardware=A100)


def test_the_old_presets_have_the_values_they_always_had():
    # By hand, 7B: 15.22 GB of weights over 0.8 x 2.039 TB/s, and 3 ms.
    small, large = PRESETS["qwen2.5-7b@a100"], PRESETS["qwen2.5-72b@a100"]
    assert small.step_s == pytest.approx(15.22e9 / 1.6312e12 + 0.003)
    assert small.prefill_s == pytest.approx(2 * 7.61e9 / 156e12)
    assert small.context_s == pytest.approx(4 * 28 * 4 * 128 / 1.6312e12)
    assert small.kv_tokens == int((68e9 - 15.22e9) / 57344)
    assert (large.kv_tokens, large.seats) == (386352, 256)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_fits_somewhere_and_is_faster_on_better_hardware(model):
    steps = [preset(f"{model}@{hardware}x4").step_s for hardware in HARDWARE]
    assert steps == sorted(steps, reverse=True)
    assert preset(f"{model}@h200x8").step_s < preset(f"{model}@h200x4").step_s


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qwen-7b@a100", "did you mean `qwen2.5-7b@a100`"),
        ("qwen2.5-7b@a10", "did you mean `qwen2.5-7b@a100`"),
        ("qwen2.5-7b", "did you mean `qwen2.5-7b@a100`"),
        ("lama-3.1-8b@h100x2", "did you mean `llama-3.1-8b@h100`"),
        ("x", "unknown preset 'x'; known: "),
        ("qwen2.5-7b@a100x3", "possible are 1, 2, 4, 8"),
        ("qwen2.5-7b@a100x0", "possible are 1, 2, 4, 8"),
        ("qwen2.5-7b@a100x", "unknown preset"),
        ("llama-3.1-70b@h200", "it fits as llama-3.1-70b@h200x2"),
        ("qwen2.5-72b@a6000x2", "the weights take 145 GB"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, message):
    with pytest.raises(ConfigError) as caught:
        preset(name)
    assert message in str(caught.value)


TRUTH = {"prefill_s": 0.0002, "step_s": 0.02, "seq_s": 0.0003, "context_s": 2e-8}


def measured(noise=0.0, seed=1, **truth):
    """Points as a server of these times would give them, each off by up to `noise`."""
    rng = random.Random(seed)
    times = {**TRUTH, **truth}

    def off() -> float:
        return 1 + rng.uniform(-noise, noise)

    prefill = []
    for tokens in (20, 200, 1000, 2048, 2100, 5000):
        full, rest = divmod(tokens, 2048)
        seconds = full * 2048 * times["prefill_s"]
        seconds += max(times["step_s"], rest * times["prefill_s"]) if rest else 0.0
        prefill.append(PrefillPoint(prompt_tokens=tokens, seconds=seconds * off()))
    decode = [
        DecodePoint(
            sequences=n,
            context_tokens=n * each,
            seconds=(times["step_s"] + n * times["seq_s"] + n * each * times["context_s"]) * off(),
        )
        for n in (1, 8, 32, 64)
        for each in (100, 4000, 30000)
    ]
    return prefill, decode


def test_exact_measurements_give_the_truth_back():
    prefill, decode = measured()
    found = fit(prefill=prefill, decode=decode)
    for name, value in TRUTH.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name
    assert found.worst_error < 1e-6
    assert (len(found.prefill_errors), len(found.decode_errors)) == (6, 12)
    assert found.profile(seats=8).seats == 8


def test_noise_shows_in_the_errors():
    prefill, decode = measured(noise=0.05)
    found = fit(prefill=prefill, decode=decode)
    assert found.prefill_s == pytest.approx(TRUTH["prefill_s"], rel=0.06)
    assert found.step_s == pytest.approx(TRUTH["step_s"], rel=0.06)
    assert 0.005 < found.worst_error < 0.12


def test_a_fitted_time_is_never_negative():
    prefill, decode = measured(seq_s=-0.00005)
    found = fit(prefill=prefill, decode=decode)
    assert found.seq_s == 0.0
    assert min(found.step_s, found.context_s, found.prefill_s) > 0
    assert found.worst_error > 0.01


def test_errors_are_relative_to_what_was_measured():
    prefill = [PrefillPoint(prompt_tokens=n, seconds=n * 0.01) for n in (500, 1000)]
    points = [(1, 0, 1.0), (1, 0, 3.0), (9, 0, 2.0), (9, 1000, 2.0), (1, 1000, 1.5)]
    decode = [DecodePoint(sequences=n, context_tokens=k, seconds=s) for n, k, s in points]
    found = fit(prefill=prefill, decode=decode)
    for (n, k, seconds), error in zip(points, found.decode_errors, strict=True):
        fitted = found.step_s + n * found.seq_s + k * found.context_s
        assert error == pytest.approx((fitted - seconds) / seconds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, d: (p[:1], d), "too few"),
        (lambda p, d: (p, d[:3]), "too few"),
        (lambda p, d: ([p[0], p[0]], d), "two lengths"),
        (
            lambda p, d: ([PrefillPoint(prompt_tokens=n, seconds=0.01) for n in (20, 50)], d),
            "takes longer than a decode step",
        ),
        (lambda p, d: (p, d[:1] * 5), "cannot tell the times apart"),
        (lambda p, d: (p, [d[0], d[1], d[0], d[1]]), "cannot tell the times apart"),
        (
            lambda p, d: (
                p,
                [DecodePoint(sequences=n, context_tokens=0, seconds=n) for n in range(1, 6)],
            ),
            "some with context",
        ),
        (lambda p, d: (p, [*d, DecodePoint(sequences=1, context_tokens=1, seconds=0.0)]), "above"),
        (
            lambda p, d: (p, [*d, DecodePoint(sequences=0, context_tokens=1, seconds=1.0)]),
            "one seq",
        ),
        (lambda p, d: ([*p, PrefillPoint(prompt_tokens=0, seconds=1.0)], d), "one prompt token"),
    ],
)
def test_points_that_tell_nothing_are_refused(change, message):
    prefill, decode = change(*measured())
    with pytest.raises(ConfigError, match=message):
        fit(prefill=prefill, decode=decode)
