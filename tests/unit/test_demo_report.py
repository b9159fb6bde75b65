"""What the demo says: validity, table, plot, JSON; and the pool file it writes."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from headway.daemon.config import load_config
from headway.emulate.config import load_config as load_emulated
from headway_samples.demo import show
from headway_samples.demo.arms import ALL_ARMS, PROXY_ARMS, SAMPLES, Arm
from headway_samples.demo.arrivals import Arrival
from headway_samples.demo.driver import Load, drive
from headway_samples.demo.measures import RunRecord, report
from headway_samples.demo.pilot import DEADLINE_FACTOR, Pilot
from headway_samples.demo.plan import full_plan
from headway_samples.demo.play import Played
from headway_samples.demo.validity import Strain, mean_of
from headway_samples.marker import Marker, find_marker
from headway_samples.pool import MODELS, PRIORS, make_pool
from headway_samples.sample import POOL_NAME
from tests.support.direct_chat import GENIUS, DirectChat


def _records(*times: float | None) -> list[RunRecord]:
    return [
        RunRecord(sample="support_chat", completion_s=each, solved=True, deadline_s=5.0)
        for each in times
    ]


def _played(strain: Strain, **arms: list[RunRecord]) -> Played:
    pilot = Pilot(idle_s=1.0, deadlines={}, knee=1.0, sureness="bracketed", probes=(), wall_s=1.0)
    return Played(
        pilot=pilot,
        rate=0.8,
        arms=arms,
        errors={},
        strains=(strain,),
        plan=full_plan(1),
        pool="3 x small",
        explained="because",
    )


CALM = Strain(arm="x", cpu=0.85, lateness=0.10)


def test_at_the_limits_a_run_is_valid_beyond_them_it_is_not() -> None:
    assert CALM.complaints() == ()
    assert "host CPU at 86%" in Strain(arm="x", cpu=0.86, lateness=0).complaints()[0]
    assert "11% late" in Strain(arm="x", cpu=0, lateness=0.11).complaints()[0]
    assert mean_of([]) == 0.0


def test_the_json_has_the_promised_shape_and_is_json() -> None:
    played = _played(CALM, x=_records(1.0, 9.0), y=_records(2.0, None))
    told = json.loads(json.dumps(played.as_dict()))
    assert told["valid"] is True
    assert told["arms"]["x"]["attainment"] == 0.5
    assert told["arms"]["y"]["failed"] == 1
    assert told["samples"]["support_chat"]["x"]["runs"] == 2
    assert played.failed == 1


def test_a_proxy_that_fills_its_core_is_a_complaint_and_in_the_json() -> None:
    full = Strain(arm="proxy", cpu=0.5, lateness=0.0, proxy=0.86)
    (complaint,) = full.complaints()
    assert "LiteLLM's proxy used 86% of its core" in complaint
    assert Strain(arm="proxy", cpu=0.5, lateness=0.0, proxy=0.85).complaints() == ()
    told = _played(full, proxy=_records(1.0)).as_dict()
    assert told["valid"] is False
    assert told["setting"]["strain"]["proxy"]["proxy_core"] == 0.86
    assert "proxy_core" not in _played(CALM, x=_records(1.0)).as_dict()["setting"]["strain"]["x"]


def test_an_overworked_machine_is_said_loudly() -> None:
    played = _played(Strain(arm="x", cpu=0.99, lateness=0.0), x=_records(1.0))
    assert played.as_dict()["valid"] is False
    console = Console(file=io.StringIO(), width=100)
    show.verdict(console, played.complaints, runs=min(map(len, played.arms.values())))
    assert "NOT VALID" in console.file.getvalue()


@pytest.mark.parametrize(("runs", "few"), [(58, True), (360, False)])
def test_few_runs_compare_nothing(runs: int, few: bool) -> None:
    console = Console(file=io.StringIO(), width=100)
    show.verdict(console, (), runs=runs)
    assert ("not which arm is better" in console.file.getvalue()) is few


def test_the_table_shows_every_arm_for_all_and_for_each_sample() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(show.table(report({"x": _records(1.25), "y": _records(None)})))
    printed = console.file.getvalue()
    assert "emulated seconds" in printed
    assert printed.count("1.2") >= 2  # once in all, once for its sample
    assert printed.count("\ny ") == 2


def test_the_table_fits_into_80_columns_with_nothing_cut_off() -> None:
    long = [
        RunRecord(sample=name, completion_s=98765.4, solved=True, deadline_s=1e6)
        for name in SAMPLES
        for _ in range(400)
    ]
    console = Console(file=io.StringIO(), width=80)
    console.print(show.table(report(dict.fromkeys((*ALL_ARMS, *PROXY_ARMS), long))))
    printed = console.file.getvalue()
    assert "…" not in printed
    for word in (
        *SAMPLES,
        *ALL_ARMS,
        *PROXY_ARMS,
        "success",
        "attainment",
        "failed",
        "98765.4",
        "100.0%",
        "1200",
    ):
        assert word in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    file = tmp_path / "plot.png"
    show.plot({"x": _records(1.0, 2.0), "y": _records(3.0, None)}, file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_the_pool_file_suits_the_daemon_and_the_emulator(tmp_path: Path) -> None:
    pool = make_pool(speedup=20.0)
    file = pool.write(tmp_path / "pool.yaml")
    config = load_config(file)
    emulated = load_emulated(file)
    assert config.pool.name(POOL_NAME).models == MODELS
    assert config.pool.quality == PRIORS
    assert emulated.speedup == 20.0
    assert [spec.id for spec in emulated.endpoints] == [each.id for each in pool.endpoints]
    for spec, believed in zip(emulated.endpoints, config.pool.endpoints, strict=True):
        assert believed.profile is not None
        # The daemon lives in wall time, the emulated engine in its own.
        assert believed.profile.step_s == pytest.approx(spec.profile.step_s / 20.0)
        assert believed.profile.seats == spec.profile.seats
    assert len({each.port for each in pool.endpoints}) == len(pool.endpoints)


def test_deadlines_are_three_and_six_times_idle() -> None:
    factors = {name: DEADLINE_FACTOR[each.service_class] for name, each in SAMPLES.items()}
    assert factors == {"code_generation": 6.0, "deep_research": 6.0, "support_chat": 3.0}


def test_a_marker_survives_the_prompt_and_the_last_one_counts() -> None:
    one = Marker(sample="s", task=3, variant=14, role="write")
    two = Marker(sample="s", task=3, variant=14, role="research", attempt=2, part="river")
    assert find_marker(f"Do this.\n\n{one}") == one
    assert find_marker(f"{one}\nand then\n{two} thanks") == two
    assert find_marker("no marker") is None


def _support_arm() -> Arm:
    chat = DirectChat(skill=GENIUS)
    return Arm(
        name="direct", graphs={"support_chat": SAMPLES["support_chat"].build(lambda node: chat)}
    )


def _load(tasks: list[int], *, skip: int = 0) -> Load:
    arrivals = [
        Arrival(at=float(number), number=number, sample="support_chat", task=task)
        for number, task in enumerate(tasks)
    ]
    return Load(
        arrivals=arrivals,
        rate=1000.0,
        speedup=10_000.0,
        deadlines={"support_chat": 1e9},
        skip=skip,
    )


async def test_the_driver_records_each_run_and_what_raised() -> None:
    seen: list[int] = []
    outcome = await drive(_support_arm(), _load([0, 1, 999]), progress=seen.append)
    assert [record.failed for record in outcome.records] == [False, False, True]
    assert [record.solved for record in outcome.records] == [True, True, False]
    assert len(outcome.errors) == 1
    assert "support_chat 2: IndexError" in outcome.errors[0]
    assert seen == [1, 2]


async def test_the_driver_leaves_out_what_it_is_told_to_skip() -> None:
    outcome = await drive(_support_arm(), _load([0, 1, 2], skip=2))
    assert len(outcome.records) == 1
