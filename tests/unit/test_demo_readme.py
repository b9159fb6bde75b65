"""The README's block: made from the demo's JSON alone, losses included."""

import copy
import json
from pathlib import Path

import pytest

from headway_samples.demo.arms import ALL_ARMS, ARMS, PROXY_ARMS
from headway_samples.demo.readme import NoMarkers, block, losses, main, rewritten

ROOT = Path(__file__).parents[2]
MADE = ROOT / "docs" / "results" / "demo.json"


def _values(mean: float | None, success: float, **other: float) -> dict:
    return {
        "runs": 10,
        "failed": 0,
        "mean_s": mean,
        "p50_s": 5.0,
        "p95_s": 20.0,
        "p99_s": 30.0,
        "success": success,
        "attainment": 1.0,
        **other,
    }


def _report() -> dict:
    arms = {
        "least-busy": _values(10.0, 0.8, p99_s=25.0),
        "large-only": _values(40.0, 0.95),
        "headway": _values(8.0, 0.9),
    }
    return {
        "valid": True,
        "arms": arms,
        "samples": {"chat": copy.deepcopy(arms)},
        "setting": {
            "version": "1.2.3",
            "seed": 7,
            "runs_per_arm": 10,
            "speedup": 16.0,
            "pool": "2 x small of 2 seats",
            "load_share": 0.8,
            "knee": "bracketed",
            "knee_runs_per_s": 0.5,
            "load_runs_per_s": 0.4,
            "deadlines_s": {"chat": 42.4},
            "strain": {"headway": {"cpu": 0.25, "lateness_p95": 0.012}},
            "complaints": [],
        },
    }


def test_every_arm_has_its_row_in_both_tables() -> None:
    text = block(_report())
    assert "| **`headway`** | 8.0 | 5.0 | 20.0 | 30.0 | 90.0% | 100.0% | 10 | 0 |" in text
    assert "| `least-busy` | 10.0 | 5.0 | 20.0 | 25.0 | 80.0% | 100.0% | 10 | 0 |" in text
    assert "| chat | `least-busy` | 10.0 | 20.0 | 80.0% |" in text
    assert "|  | **`headway`** | 8.0 | 20.0 | 90.0% |" in text
    assert "](docs/results/demo.png)" in text
    assert "`headway demo --arms least-busy,large-only,headway`" in text
    assert "seed 7" in text
    assert "0.400 runs" in text
    assert "0.8 of the knee of `least-busy`. Pool" in text


def test_the_promised_keys_are_enough() -> None:
    report = {key: _report()[key] for key in ("valid", "arms", "samples")}
    assert block(report).endswith(
        "Made by one `headway demo --arms least-busy,large-only,headway`."
    )
    assert "too slow" in block({**report, "valid": False})


def test_a_knee_that_was_not_bracketed_is_not_called_one() -> None:
    report = _report()
    report["setting"]["knee"] = "at least"
    assert "the knee of `least-busy` (at least that). Pool" in block(report)


def test_the_reading_compares_with_each_arm() -> None:
    text = block(_report())
    assert "20% lower than `least-busy`'s at +10.0 points of success" in text
    assert "80% lower than `large-only`'s at -5.0 points of success" in text


def test_every_cell_that_headway_loses_is_listed_and_no_other() -> None:
    report = _report()
    assert list(losses(report)) == [
        "all, P99: 30.0 against 25.0 of `least-busy`",
        "all, success: 90.0% against 95.0% of `large-only`",
        "chat, success: 90.0% against 95.0% of `large-only`",
    ]
    assert "- all, P99: 30.0 against 25.0 of `least-busy`" in block(report)


def test_what_looks_equal_is_no_loss_and_no_value_is_one() -> None:
    report = _report()
    report["samples"] = {}
    report["arms"] = {"x": _values(8.04, 0.9004), "headway": _values(8.0, 0.9)}
    assert list(losses(report)) == []
    assert "worse than no other arm" in block(report)
    report["arms"]["headway"] = _values(None, 0.9)
    assert list(losses(report)) == ["all, mean: - against 8.0 of `x`"]
    assert "not comparable" in block(report)


def test_an_invalid_demo_is_marked_in_the_readme() -> None:
    report = _report()
    assert "Not valid" not in block(report)
    report["valid"] = False
    report["setting"]["complaints"] = ["headway: host CPU at 97%"]
    assert block(report).startswith("**Not valid, do not use these numbers**: headway: host CPU")


def _report_of(*arms: str) -> dict:
    report = _report()
    chosen = {arm: _values(10.0 + place, 0.8) for place, arm in enumerate(arms)}
    return {**report, "arms": chosen, "samples": {"chat": copy.deepcopy(chosen)}}


@pytest.mark.parametrize(
    ("arms", "command"),
    [
        (ARMS, "make demo"),
        (ALL_ARMS, "make demo-all"),
        (PROXY_ARMS, "make demo-proxy"),
        (("simple-shuffle", "headway"), "headway demo --arms simple-shuffle,headway"),
    ],
)
def test_the_block_says_which_command_made_it(arms: tuple[str, ...], command: str) -> None:
    assert f"Made by one `{command}` (" in block(_report_of(*arms))


def test_each_arm_of_headways_is_compared_with_those_without_it_and_with_no_other() -> None:
    report = _report_of("headway", "simple-shuffle", "router-headway")  # means 10, 11 and 12
    text = block(report)
    assert text.count("Headway's mean is 9% lower than `simple-shuffle`'s") == 1
    assert text.count("`router-headway`'s mean is 9% higher than `simple-shuffle`'s") == 1
    assert "Headway is worse than no other arm in any cell of these tables." in text
    assert list(losses(report, "router-headway")) == [
        "all, mean: 12.0 against 11.0 of `simple-shuffle`",
        "chat, mean: 12.0 against 11.0 of `simple-shuffle`",
    ]
    assert "Where `router-headway` is worse than another arm:\n\n- all, mean: 12.0" in text
    assert "| **`router-headway`** | 12.0 |" in text


def test_a_demo_without_headway_claims_nothing_of_it() -> None:
    text = block(_report_of("least-busy", "simple-shuffle"))
    assert "| `simple-shuffle` | 11.0 |" in text
    assert "worse" not in text
    assert "mean is" not in text


README = "# Title\n\n<!-- demo: made so -->\nold\n<!-- demo end -->\n\nThe rest.\n"


def test_only_the_block_is_rewritten_and_twice_is_once() -> None:
    once = rewritten(README, "new\nlines")
    assert once == (
        "# Title\n\n<!-- demo: made so -->\n\nnew\nlines\n\n<!-- demo end -->\n\nThe rest.\n"
    )
    assert rewritten(once, "new\nlines") == once


@pytest.mark.parametrize(
    "readme",
    [
        "nothing",
        "<!-- demo: x -->\n",
        "<!-- demo end -->\n<!-- demo: x -->\n",
        README + README,
    ],
)
def test_a_readme_without_the_markers_is_refused(readme: str) -> None:
    with pytest.raises(NoMarkers, match="demo end"):
        rewritten(readme, "text")


def test_the_command_rewrites_the_file_or_says_what_is_missing(tmp_path: Path, capsys) -> None:
    json_file, readme = tmp_path / "demo.json", tmp_path / "README.md"
    json_file.write_text(json.dumps(_report()))
    readme.write_text(README)
    assert main([str(json_file), str(readme)]) == 0
    assert readme.read_text() == rewritten(README, block(_report()))
    readme.write_text("# nothing\n")
    assert main([str(json_file), str(readme)]) == 1
    assert "demo end" in capsys.readouterr().err
    assert readme.read_text() == "# nothing\n"


@pytest.mark.skipif(
    not (ROOT / "README.md").exists(), reason="the tests run without the repository"
)
def test_the_readme_shows_what_the_committed_demo_measured() -> None:
    report = json.loads(MADE.read_text())
    readme = (ROOT / "README.md").read_text()
    assert rewritten(readme, block(report)) == readme, (
        "run `python -m headway_samples.demo.readme docs/results/demo.json README.md`"
    )
    assert MADE.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
