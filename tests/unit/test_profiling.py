"""The parts of `headway profile`: rungs, points, the verdict on order, the pool file."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.daemon.config import load_config
from headway.engine.fit import DecodePoint, Fit, PrefillPoint
from headway_vllm.profiling.asking import Asker, Timed
from headway_vllm.profiling.ladder import Limits, decode_rungs, prefill_rungs
from headway_vllm.profiling.measuring import Measured, choose_model
from headway_vllm.profiling.ordering import verdict
from headway_vllm.profiling.picture import draw
from headway_vllm.profiling.points import decode_point, prefill_point
from headway_vllm.profiling.poolfile import PoolFile

URL = "http://127.0.0.1:8001/v1"
MEASURED = Measured(
    model="m",
    limits=Limits(seats=8, kv_tokens=40000, context_tokens=8192),
    overhead_s=0.00123456,
    prefill=(
        PrefillPoint(prompt_tokens=500, seconds=0.1),
        PrefillPoint(prompt_tokens=1000, seconds=0.2),
    ),
    decode=(
        DecodePoint(sequences=1, context_tokens=100, seconds=0.03),
        DecodePoint(sequences=8, context_tokens=800, seconds=0.04),
    ),
    fitted=Fit(
        prefill_s=0.000200001,
        step_s=0.03,
        seq_s=0.001,
        context_s=5e-7,
        prefill_errors=(0.0, 0.01),
        decode_errors=(0.0, -0.01),
    ),
    heeds_urgency=True,
    unproved="",
)
POOL = f"""\
# the pool of our team
endpoints:
  - id: small   # on the old machine
    url: {URL}
    model: m
    engine: vllm
    profile: {{wake_s: 3.0, step_s: 9.0}}
  # those of the others
  - {{id: other, url: "http://127.0.0.1:8002/v1", model: m}}

models:
  agent: [m]   # everybody
"""


def timed(*chunks: float, prompt: int = 100, cached: int = 0, tokens: int | None = None) -> Timed:
    count = len(chunks) if tokens is None else tokens
    return Timed(
        sent_at=0.0,
        chunks_at=list(chunks),
        prompt_tokens=prompt,
        cached_tokens=cached,
        output_tokens=count,
    )


# -- the ladder ------------------------------------------------------------------------------------


def test_rungs_fit_into_seats_context_and_kv() -> None:
    limits = Limits(seats=6, context_tokens=1200, kv_tokens=5000)
    assert [one.prompt_tokens for one in prefill_rungs(limits)] == [256, 512, 1024]
    rungs = decode_rungs(limits)
    assert {one.sequences for one in rungs if one.prompt_tokens == 64} == {1, 2, 4, 6}
    assert max(one.tokens for one in rungs) <= 4000
    assert max(one.prompt_tokens + one.output_tokens for one in rungs) <= 1080


@pytest.mark.parametrize("limits", [Limits(context_tokens=300), Limits(kv_tokens=200)])
def test_a_server_that_is_too_small_to_be_measured_is_told(limits: Limits) -> None:
    with pytest.raises(ConfigError, match="its context holds"):
        prefill_rungs(limits)


def test_too_few_batches_are_told() -> None:
    with pytest.raises(ConfigError, match="only 2 batches fit"):
        decode_rungs(Limits(seats=1))


# -- the model -------------------------------------------------------------------------------------


class Pages(Asker):
    """A server with one page."""

    def __init__(self, model: str, *names: str) -> None:
        super().__init__(URL, model)
        entries = [{"id": name, "root": "path", "max_model_len": 8192} for name in names]
        self.text = json.dumps({"data": entries})

    async def page(self, path: str) -> str | None:
        return self.text if path == "models" else None


async def test_the_only_model_is_taken_and_all_names_of_one_are_known() -> None:
    only, named = Pages("", "m"), Pages("agent", "m", "agent")
    assert await choose_model(only) == 8192 and only.model == "m"
    assert await choose_model(named) == 8192
    assert (named.model, named.aliases) == ("agent", ("m", "agent"))


@pytest.mark.parametrize(
    ("model", "names", "told"),
    [
        ("", ("m", "n"), "serves m, n: say which with --model"),
        ("", (), "lists no model"),
        ("x", ("m",), "serves m, not x"),
    ],
)
async def test_a_model_that_cannot_be_chosen_is_told(
    model: str, names: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await choose_model(Pages(model, *names))


# -- points ----------------------------------------------------------------------------------------


def test_a_prompts_time_is_without_what_every_request_costs() -> None:
    repeats = [timed(0.25), timed(0.21), timed(0.23), timed(0.01, cached=96)]
    point = prefill_point(repeats, (), overhead_s=0.03, step_s=0.01)
    assert point is not None and (point.prompt_tokens, point.seconds) == (100, pytest.approx(0.2))
    assert prefill_point(repeats[-1:], (), overhead_s=0.0, step_s=0.01) is None  # it was cached


def test_what_a_server_does_with_a_prompt_beside_its_engine_is_not_prefill() -> None:
    again = [timed(0.06, cached=96), timed(0.04, cached=96), timed(0.2)]  # the last was forgotten
    point = prefill_point([timed(0.25), timed(0.21)], again, overhead_s=0.03, step_s=0.01)
    # beside the engine: 0.05 - 0.01 s
    assert point is not None and (point.prompt_tokens, point.seconds) == (100, pytest.approx(0.19))


def test_a_repeat_that_computes_more_than_a_block_is_no_measure_of_what_is_beside() -> None:
    fresh, again = timed(0.5, prompt=4000), timed(0.2, prompt=4000, cached=3700)
    point = prefill_point([fresh], [again], overhead_s=0.03, step_s=0.01)
    assert point is not None and point.seconds == pytest.approx(0.47)


def test_a_step_is_measured_while_the_whole_batch_decodes() -> None:
    alone_at_first = timed(*(0.1 * n for n in range(1, 11)), *(1.0 + 0.2 * n for n in range(1, 11)))
    later = timed(*(1.0 + 0.2 * n for n in range(11)))
    point = decode_point([alone_at_first, later])
    assert point is not None and point.seconds == pytest.approx(0.2)
    # both prompts, the 9 tokens that the first had by then, and half of what each wrote since
    assert (point.sequences, point.context_tokens) == (2, 100 + 9 + 5 + 100 + 5)


def test_tokens_that_come_two_to_a_chunk_count_each() -> None:
    point = decode_point([timed(*(0.2 * n for n in range(1, 11)), tokens=20)])
    assert point is not None and point.seconds == pytest.approx(0.1)


def test_a_batch_that_hardly_met_is_no_point() -> None:
    assert decode_point([timed(1.0, 2.0, 3.0), timed(2.5, 3.5, 4.5)]) is None


# -- order -----------------------------------------------------------------------------------------


def test_the_order_of_first_tokens_tells_whether_priorities_are_heeded() -> None:
    by_arrival = [timed(float(place)) for place in range(6)]
    assert verdict(by_arrival) is False
    assert verdict(by_arrival[::-1]) is True
    mixed = [by_arrival[place] for place in (0, 5, 1, 4, 2, 3)]
    assert verdict(mixed) is None


# -- the pool file ---------------------------------------------------------------------------------


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "headway.yaml"
    path.write_text(POOL)
    path.chmod(0o640)
    return path


def test_the_profile_goes_into_its_endpoint_and_nothing_else_changes(pool: Path) -> None:
    assert PoolFile(pool, "http://localhost:8001/v1/").write(MEASURED) == ("small",)
    small, other = load_config(pool).pool.endpoints
    assert small.profile is not None and other.profile is None
    assert (small.profile.prefill_s, small.profile.seats) == (0.0002, 8)
    assert (small.profile.wake_s, small.rtt_s, small.heeds_urgency) == (3.0, 0.001235, True)
    text = pool.read_text()
    assert text.startswith(POOL[: POOL.index("    url:")])
    assert text.endswith(POOL[POOL.index("  # those of the others") :])
    assert stat.S_IMODE(pool.stat().st_mode) == 0o640
    assert [one.name for one in pool.parent.iterdir()] == ["headway.yaml"]


def test_what_could_not_be_seen_is_left_as_it_was(pool: Path) -> None:
    declared = POOL.replace("wake_s: 3.0", "wake_s: 3.0, seats: 5, kv_tokens: 99")
    pool.write_text(declared.replace("engine: vllm", "engine: vllm\n    heeds_urgency: false"))
    unknown = replace(MEASURED, heeds_urgency=None, limits=Limits())
    PoolFile(pool, URL).write(unknown)
    small = load_config(pool).pool.endpoints[0]
    assert small.profile is not None and small.heeds_urgency is False
    assert (small.profile.seats, small.profile.kv_tokens) == (5, 99)


def test_a_link_stays_a_link(pool: Path) -> None:
    link = pool.with_name("link.yaml")
    link.symlink_to(pool)
    PoolFile(link, URL).write(MEASURED)
    assert link.is_symlink() and load_config(pool).pool.endpoints[0].heeds_urgency


@pytest.mark.parametrize(
    "shared",
    [
        POOL.replace("- id: small", "- &one\n    id: small").replace("{id:", "{<<: *one, id:"),
        POOL.replace("profile: {wake", "profile: &speed {wake"),
    ],
)
def test_an_entry_that_others_share_is_not_written(pool: Path, shared: str) -> None:
    pool.write_text(shared)
    with pytest.raises(ConfigError, match="endpoint small shares its keys with others"):
        PoolFile(pool, URL).write(MEASURED)
    assert pool.read_text() == shared


def test_a_pool_without_the_endpoint_names_those_that_it_has(pool: Path) -> None:
    with pytest.raises(ConfigError, match=r"no endpoint with url .* and model m; it has: http"):
        PoolFile(pool, "http://127.0.0.1:9/v1").check("m")


@pytest.mark.parametrize(("text", "told"), [("a: [", "is no YAML"), (None, "cannot be read")])
def test_a_pool_that_cannot_be_read_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "pool.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        PoolFile(path, URL)


def test_model_and_key_behind_a_url_are_looked_up(pool: Path) -> None:
    pool.write_text(POOL.replace("engine: vllm", "engine: vllm\n    api_key: os.environ/KEY"))
    found = PoolFile(pool, URL)
    assert (found.model, found.api_key) == ("m", "os.environ/KEY")
    assert PoolFile(pool, "http://127.0.0.1:9/v1").model == ""


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(MEASURED, tmp_path / "fit.png")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
