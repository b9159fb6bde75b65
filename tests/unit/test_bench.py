"""The measuring helpers of the benchmarks, on numbers worked by hand."""

import msgspec
import openai
import pytest
from rich.progress import Progress

from headway.core.facts import CallReady
from headway.core.types import CallId
from headway.daemon.config import load_config
from headway.policy import make_scheduler
from headway.wire.messages import FrameSplitter, Granted, decode_client, decode_daemon
from tests.bench.__main__ import QUICK, SECTIONS, main, run
from tests.bench.decision import echo_call, real_call
from tests.bench.facts import call, config, live_runs, pool
from tests.bench.handle import Driver
from tests.bench.measure import (
    Result,
    added_p50,
    against,
    from_json,
    in_turns,
    overhead,
    percentile,
    quartiles,
    to_json,
)
from tests.bench.proxies import configuration
from tests.bench.servers import server


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 10.0), (25, 20.0), (50, 30.0), (90, 46.0), (100, 50.0)]
)
def test_a_percentile_lies_between_its_neighbours(percent: float, expected: float) -> None:
    assert percentile([50, 20, 10, 40, 30], percent) == pytest.approx(expected)


def test_percentiles_of_one_value_and_of_none() -> None:
    assert percentile([7.0], 99) == 7.0
    assert quartiles([7.0]) == (7.0, 7.0)
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_the_first_of_a_pair_alternates() -> None:
    assert list(in_turns(3)) == [(False, True), (True, False), (False, True)]


def test_overhead_is_the_median_over_pairs() -> None:
    # shares 2/10, 1/20, 4/40: median 0.1; differences 2, 1, 4: median 2
    found = overhead("x", [10, 20, 40], [12, 21, 44], unit="us", ratio_to="bare", goal=0.1)
    assert (found.value, found.n) == (2, 3)
    assert found.ratio == pytest.approx(0.1)
    assert found.spread == pytest.approx((0.075, 0.15))
    assert found.met


def test_overhead_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        overhead("x", [1.0], [1.0, 2.0], unit="us", ratio_to="bare")


def test_added_latency_is_the_difference_of_medians_and_its_goal_is_in_milliseconds() -> None:
    found = added_p50("x", [4.0, 5.0, 9.0], [7.5, 6.0, 8.0], ratio_to="bare", goal=2.0)
    assert (found.value, found.ratio) == (2.5, 0.5)
    assert found.met is False
    assert added_p50("x", [4.0], [6.0], ratio_to="bare", goal=2.0).met is True


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    assert added_p50("x", [4.0], [6.0], ratio_to="bare").met is None


def test_a_percentile_beside_the_references() -> None:
    # medians over all 4: 25 and 2.5; per round 15/1.5 and 35/3.5
    found = against(
        "x",
        [[10, 20], [30, 40]],
        [[1, 2], [3, 4]],
        percent=50,
        unit="us",
        ratio_to="echo",
        goal=9.5,
    )
    assert (found.value, found.ratio, found.n) == (25, 10, 4)
    assert found.spread == (10, 10)
    assert found.met is False


def result(name: str) -> Result:
    return Result(
        name=name, value=1.23456, unit="us", ratio_to="echo", ratio=0.5, n=1, spread=(0.0, 1.0)
    )


def test_the_file_holds_value_unit_and_ratio_of_each_name() -> None:
    content = to_json([result("a"), result("b")])
    assert msgspec.json.decode(content) == {
        name: {"value": 1.2346, "unit": "us", "ratio_to": "echo", "ratio": 0.5} for name in "ab"
    }
    assert from_json(content)["a"].value == 1.2346
    assert result("a").met is None


def test_a_name_twice_and_a_file_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="two results"):
        to_json([result("a"), result("a")])
    with pytest.raises(msgspec.ValidationError):
        from_json(b'{"a": {"value": "fast", "unit": "us", "ratio_to": "echo", "ratio": 1}}')


def test_the_echo_gets_frames_as_large_as_the_daemon_does() -> None:
    asked, echoed = real_call(20_123), echo_call(20_123)
    assert len(asked.ready) == len(echoed.ready)
    (body,) = FrameSplitter().feed(asked.ready)
    assert isinstance(decode_client(body), CallReady)
    (body,) = FrameSplitter().feed(echoed.ready)
    answer = decode_daemon(body)
    assert isinstance(answer, Granted)
    assert answer.call == asked.call == echoed.call == CallId("call-00020123")


def test_the_configuration_says_what_the_pool_says(tmp_path) -> None:  # type: ignore[no-untyped-def]
    urls = ("http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1")
    path = tmp_path / "headway.yaml"
    path.write_text(config(seats=64, urls=urls))
    read, made = load_config(path).pool, pool(seats=64, urls=urls)
    assert [(one.id, one.url, one.model) for one in read.endpoints] == [
        (one.id, one.url, one.model) for one in made.endpoints
    ]
    assert [one.profile for one in read.endpoints] == [one.profile for one in made.endpoints]
    assert (read.name("agent").models, read.quality) == (made.name("agent").models, made.quality)


def test_every_call_belongs_to_a_run_that_lives() -> None:
    runs = {getattr(fact, "run", None) for fact in live_runs(10)}
    assert {call(number, runs=10)[0].run for number in range(25)} == runs


@pytest.mark.parametrize("policy", ["fcfs+release", "headway"])
def test_a_block_keeps_as_many_calls_open_and_waiting(policy: str) -> None:
    scheduler = make_scheduler(pool(seats=5), policy=policy)
    driver = Driver(scheduler)
    driver.fill(30 + 7)
    assert (len(scheduler.books.calls), len(scheduler.books.waiting)) == (37, 7)
    assert driver.block(5) > 0
    assert (len(scheduler.books.calls), len(scheduler.books.waiting)) == (37, 7)


def test_the_model_speaks_as_much_of_the_responses_api_as_the_sdk_reads() -> None:
    with server("model") as url:
        said = openai.OpenAI(base_url=url, api_key="none").responses.create(model="m", input="hi")
    assert said.output_text == "yes"
    assert said.usage is not None and said.usage.output_tokens == 3


def test_the_two_proxies_differ_in_the_one_line() -> None:
    urls = ("http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1")
    bare, with_it = (configuration(urls, headway=each) for each in (False, True))
    assert with_it.pop("litellm_settings") == {"callbacks": ["headway_litellm.callback"]}
    assert bare == with_it
    assert [one["model_info"]["id"] for one in bare["model_list"]] == [
        one.id for one in pool(seats=64, urls=urls).endpoints
    ]


def test_an_unknown_section_is_named_with_the_nearest(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["bench", "proxi", "--json", "/nowhere/x.json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no section `proxi`; did you mean `proxy`?" in capsys.readouterr().err


def test_only_the_sections_named_are_measured(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    done: list[str] = []
    made = {
        name: (lambda sizes, part, name=name: done.append(name) or [result(name)])
        for name in SECTIONS
    }
    monkeypatch.setattr("tests.bench.__main__.SECTIONS", made)
    with Progress(disable=True) as progress:
        found = run(QUICK, progress, ["proxy", "node"])
    assert (done, [one.name for one in found]) == (["node", "proxy"], ["node", "proxy"])
