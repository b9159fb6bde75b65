"""The page and the terminal's table, and who is said to win and lose."""

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from headway.core.errors import ConfigError
from headway.sim.report.drawing import spaced
from headway.sim.report.page import page, write_report
from headway.sim.report.ranking import best, losses, main_row, named_policies, places, verdict
from headway.sim.report.terminal import table
from headway.sim.report.words import number, shown
from headway.sim.results import Pooled, Results
from tests.support.made_results import POLICIES, made_results

VOID = {"meta", "br", "img", "link", "input", "hr"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Counts elements, gathers ids and links, and insists that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, text in attrs:
            if name == "id":
                self.ids.append(text or "")
            if name in ("href", "xlink:href", "src"):
                self.links.append(text or "")


@pytest.fixture(scope="module")
def results() -> Results:
    return made_results()


@pytest.fixture(scope="module")
def text(results: Results) -> str:
    return page(results)


def row(results: Results, policy: str, load: float = 1.3) -> Pooled:
    for place, rows in places(results):
        if place.load == load and (found := main_row(rows, policy)) is not None:
            return found
    raise AssertionError(policy)


def test_the_page_is_whole_and_needs_no_network(text: str) -> None:
    outline = Outline()
    outline.feed(text)
    outline.close()
    assert outline.open == []
    # two traces at four loads, and losses, comparisons, endpoints, workloads, knees
    assert outline.counts["table"] == 8 + 5
    # for each trace: load, distributions, requirements, frontier; and the example
    assert outline.counts["figure"] == outline.counts["svg"] == 2 * 4 + 1
    assert len(outline.ids) == len(set(outline.ids))
    assert all(link.startswith("#") for link in outline.links)
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert not re.search(r"url\((?!#)|@import|<link|src=", text)


def test_the_page_says_how_it_was_made(text: str) -> None:
    for each in (
        "headway simulate made-up --out out",
        "0123abc",
        "sha256:1f",
        "python 3.11.7",
        "2026-01-02T03:04:05+00:00",
        "seeds 1, 2",
        "lengths are &lt;made up&gt;",
        "large: 4 x A6000 &amp; more",
        "chatdev &lt;composed&gt;",
    ):
        assert each in text, each
    assert "<composed>" not in text and "<made up>" not in text


def test_colours_follow_the_page_so_that_dark_is_readable(text: str) -> None:
    body = text.partition("<body>")[2]
    assert "var(--ours)" in body and "var(--rival1)" in body
    assert not re.search(r"#0[1-9]0[1-9]0[1-9]", body)  # no stand-in colour is left
    assert "prefers-color-scheme: dark" in text


def test_a_single_row_makes_a_page_and_always_the_same(results: Results) -> None:
    one = msgspec.structs.replace(results, pooled=(row(results, "headway"),), examples=())
    first = page(one)
    assert first == page(one)
    assert "Nowhere" in first
    rival = msgspec.structs.replace(one, pooled=(row(results, "fcfs"),))
    assert "No policy <code>headway</code>" in page(rival)


def test_more_is_better_for_some_measures(results: Results) -> None:
    ours, rival = row(results, "headway"), row(results, "fcfs")
    right = msgspec.structs.replace(
        rival, measures=msgspec.structs.replace(rival.measures, success=0.9)
    )
    less = msgspec.structs.replace(
        ours, measures=msgspec.structs.replace(ours.measures, success=0.6)
    )
    found = losses(msgspec.structs.replace(results, pooled=(less, right)))
    assert [(each.measure, each.factor) for each in found] == [("success", pytest.approx(1.5))]


def test_headways_row_is_marked_and_stands_first(text: str) -> None:
    tables = re.findall(r"<h3>[^<]*load[^<]*</h3><div[^>]*><table>.*?</table>", text, re.DOTALL)
    assert tables
    for each in tables:
        first = each.partition("<tbody>")[2]
        assert first.startswith('<tr class="ours"><td>headway')


def test_the_best_that_can_be_run_is_bold_and_bounds_do_not_compete(results: Results) -> None:
    rows = dict(places(results))[row(results, "headway").place]
    assert [each.policy for each in best(rows, "mean_s")] == ["cascade"]
    bound = row(results, "clairvoyant-lengths")
    assert bound.measures.mean_s < row(results, "cascade").measures.mean_s


def test_failing_more_runs_does_not_make_a_better_mean(results: Results) -> None:
    cascade = row(results, "cascade")
    failing = msgspec.structs.replace(
        cascade, measures=msgspec.structs.replace(cascade.measures, failed=3)
    )
    rows = (row(results, "headway"), failing)
    assert [each.policy for each in best(rows, "mean_s")] == ["headway"]
    only = msgspec.structs.replace(results, pooled=rows)
    assert "mean_s" not in {loss.measure for loss in losses(only)}


def test_where_all_are_equal_nobody_is_best(results: Results) -> None:
    ours = row(results, "headway")
    same = msgspec.structs.replace(ours, policy="fcfs")
    assert best((ours, same), "mean_s") == ()


def test_losses_name_the_best_rival_and_how_much_better_it_is(results: Results) -> None:
    place = row(results, "headway").place
    found = {loss.measure: loss for loss in losses(results) if loss.place == place}
    ours, theirs = row(results, "headway").measures, row(results, "cascade").measures
    assert set(found) >= {"mean_s", "p95_s", "time_to_success_s"} and "cost" not in found
    assert found["mean_s"].rival == "cascade"
    assert found["mean_s"].factor == pytest.approx(ours.mean_s / theirs.mean_s)
    assert not found["mean_s"].clear  # five per cent, on eighty runs


def test_a_loss_is_clear_when_the_intervals_do_not_meet(results: Results) -> None:
    ours, rival = row(results, "headway"), row(results, "cascade")
    mean_s = ours.measures.mean_s
    near = {"mean_s": (mean_s - 1, mean_s + 1)}
    apart = {"mean_s": (mean_s - 3, mean_s - 2)}
    only = msgspec.structs.replace(
        results,
        pooled=(
            msgspec.structs.replace(ours, intervals=near),
            msgspec.structs.replace(rival, intervals=apart),
        ),
    )
    assert {loss.measure: loss.clear for loss in losses(only)}["mean_s"]


def test_a_bound_is_no_rival_and_without_rivals_nothing_is_lost(results: Results) -> None:
    only = msgspec.structs.replace(
        results,
        pooled=tuple(
            each for each in results.pooled if each.policy in ("headway", "clairvoyant-lengths")
        )[:4],
    )
    assert losses(only) == ()
    assert verdict(only).startswith("headway: best mean completion at ")


def test_the_verdict_is_one_line(results: Results) -> None:
    assert re.fullmatch(
        r"headway: best mean completion at 0 of 8 places; at worst \d\.\d\dx .+", verdict(results)
    )
    none = msgspec.structs.replace(results, pooled=(row(results, "fcfs"),))
    assert verdict(none) == "no policy 'headway' among the rows: nothing to judge"


def test_the_strongest_rivals_are_named_in_plots_and_bounds_are_not(results: Results) -> None:
    assert named_policies(results) == ("cascade", "chimera", "fcfs")
    many = {f"p{i:02}": 1.0 + 0.1 * i for i in range(8)}
    short = made_results({**POLICIES, **many}, runs=10, seeds=(1,), traces=("t",))
    assert named_policies(short) == ("cascade", "p00", "p01", "p02", "p03")


def test_the_terminal_gets_a_table_a_place_and_the_verdict(results: Results) -> None:
    out = io.StringIO()
    table(results, Console(file=out, width=160))
    text = out.getvalue()
    assert text.count("policy") == 8
    assert " ".join(text.split()).endswith(verdict(results))
    assert "tau · load 0.8 · three · rho=0.5 v=1" in text
    line = next(each for each in text.splitlines() if each.split()[:1] == ["headway"])
    assert line.split()[-2:] == ["0", "80"]
    assert "chimera (tau=0.5)" in text


def test_nothing_finished_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'s' has no finished rows"):
        write_report(Results(suite="s", commit="c", data_digest="d"), tmp_path)


def test_numbers_have_three_digits() -> None:
    found = [number(each) for each in (None, float("inf"), 0.0, 1234.5, 12.34, 0.01, 0.00001)]
    assert found == ["-", "inf", "0", "1,234", "12.3", "0.0100", "1.0e-05"]
    assert shown("success", 0.1234) == "12.3%"
    assert shown("success", None) == "-"


def test_labels_are_moved_apart_in_their_order() -> None:
    found = spaced([0.5, 0.1, 0.5, 0.52], 0.1)
    assert found[1] == 0.1
    assert found[0] < found[2] < found[3]
    assert min(found[2] - found[0], found[3] - found[2]) == pytest.approx(0.1)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_real_browser_draws_it_and_sorts_a_table(results: Results, tmp_path: Path) -> None:
    path = write_report(results, tmp_path)
    probe = """<script>
      const table = [...document.querySelectorAll("#tables table")].pop();
      table.tHead.rows[0].cells[1].click();
      const first = table.tBodies[0].rows[0].cells[0].textContent;
      const drawn = [...document.querySelectorAll("details[open] svg")].filter(
        each => each.getBoundingClientRect().height > 50).length;
      document.title = `sorted:${first} drawn:${drawn}`;
    </script></body>"""
    path.write_text(path.read_text().replace("</body>", probe))
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert "<title>sorted:clairvoyant-lengths drawn:4</title>" in done.stdout, done.stderr[-500:]
