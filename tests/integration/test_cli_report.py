"""`headway report` over the journals of real daemons and over files."""

import json
import shutil
from pathlib import Path

from headway.cli.ask import Connection, Where
from headway.core.facts import CallEnded, ModeSet, RunEnded, RunStarted
from headway.core.types import RunId
from headway.daemon.report import report
from headway.daemon.shell import make_scheduler
from headway.wire.journal import journals_in
from headway.wire.messages import Granted
from tests.golden.record import golden
from tests.support import bare
from tests.support.daemons import CONFIG, Peer, call, headway, process, running, until
from tests.support.journals import Recording
from tests.support.telling import endpoint, pool


def socket_in(folder: Path) -> Path:
    return folder / "run" / "headway.sock"


def journal_folder_in(folder: Path) -> Path:
    return folder / "run" / "headway.sock.journal"


def one_run(folder: Path, number: int) -> None:
    ask = call(number, models=("large",))
    with Connection(Where(socket=socket_in(folder))) as client:
        client.send(RunStarted(run=ask.run, graph="coding", deadline_s=60.0))
        client.send(ask)
        while not isinstance(client.receive(), Granted):
            continue
        client.send(CallEnded(call=ask.call, attempt=1, run=ask.run, output_tokens=50))
        client.send(RunEnded(run=RunId(f"r{number}")))


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_of_a_daemon_that_runs_and_of_what_it_left(tmp_path: Path) -> None:
    with bare.served() as config:
        with process(tmp_path, config=config):
            one_run(tmp_path, 1)
            running = headway("report", "--socket", socket_in(tmp_path))
            assert running.returncode == 0, running.stderr
            assert "1 journal file, " in running.stdout
            assert "policy least-busy, mode on" in running.stdout
            run = next(row for row in rows(running.stdout) if row[:1] == ["coding"])
            assert run[:3] == ["coding", "1", "1"] and run[-3:] == ["100%", "of", "1"]
            assert ["large", "1", "1", "0", "50", "0", "-"] in rows(running.stdout)
            assert "calls: 1 by decision" in running.stdout
            assert "where headway decides otherwise: " in running.stdout
        with process(tmp_path, config=config):
            one_run(tmp_path, 2)
    left = headway("report", "--socket", socket_in(tmp_path), "--policy", "none")
    assert left.returncode == 0, left.stderr
    assert "2 journal files, " in left.stdout
    assert ["coding", "2", "2"] in [row[:3] for row in rows(left.stdout)]
    assert "otherwise" not in left.stdout
    files = journals_in(journal_folder_in(tmp_path))
    reversed_order = headway("report", *reversed(files), "--json", "-")
    assert [one["path"] for one in json.loads(reversed_order.stdout)["files"]] == list(
        map(str, files)
    )


def test_json_has_all_of_it(tmp_path: Path) -> None:
    told = headway("report", golden("fcfs"), "--json", "-")
    assert told.returncode == 0, told.stderr
    body = json.loads(told.stdout)
    assert {run["graph"]: run["outcomes"]["ok"] for run in body["runs"]} == {
        "chat": 8,
        "coding": 5,
        "research": 5,
    }
    assert sum(model["outcomes"]["ok"] for model in body["models"]) == body["calls_by_decision"]
    assert body["other_policy"] == "least-busy"
    file = tmp_path / "report.json"
    assert headway("report", golden("fcfs"), "--json", file).returncode == 0
    assert json.loads(file.read_text()) == body
    nowhere = headway("report", golden("fcfs"), "--json", tmp_path / "no" / "report.json")
    assert nowhere.returncode == 1
    assert "cannot write" in nowhere.stderr


def test_a_printed_report_has_every_part() -> None:
    shown = headway("report", golden("headway"), "--policy", "fcfs").stdout
    for title in (
        "runs, completion of those that ended ok",
        "waits for release",
        "calls by model",
        "endpoints",
        "prediction / outcome, medians",
        "where fcfs decides otherwise: ",
    ):
        assert f"\n{title}" in shown
    assert "most often: " in shown
    assert "\x1b" not in shown


def test_shadow_mode_is_told_apart(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a")).with_mode("shadow"))
    told.ready("c1", at=0.0)
    told.ended("c1", at=1.0)
    shown = headway("report", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "mode shadow" in shown.stdout
    assert "where calls went in shadow mode" in shown.stdout
    assert ["agent", "(not", "told)", "a", "1", "100%"] in rows(shown.stdout)
    assert ["(not", "told)", "1", "1"] in [row[:4] for row in rows(shown.stdout)]


def test_modes_are_told_in_their_order(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a")))
    for mode in ("shadow", "on", "off"):
        told.tell(ModeSet(mode=mode))
    assert "mode on, shadow, off\n" in headway("report", tmp_path).stdout


def test_an_empty_journal_is_no_error(tmp_path: Path) -> None:
    Recording(tmp_path, pool(endpoint("a")))
    shown = headway("report", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "no run has ended" in shown.stdout and "no call has ended" in shown.stdout


def test_damaged_foreign_and_missing_journals(tmp_path: Path) -> None:
    journal = Path(shutil.copy(golden("headway"), tmp_path / "a.journal"))
    journal.write_bytes(journal.read_bytes()[:-2])
    cut = headway("report", journal)
    assert cut.returncode == 0
    assert "a.journal: cut at byte " in cut.stdout
    journal.write_bytes(b"nonsense")
    foreign = headway("report", journal)
    assert foreign.returncode == 1
    assert "a.journal is not a journal" in foreign.stderr
    journal.unlink()
    gone = headway("report", journal)
    assert gone.returncode == 1
    assert "cannot read" in gone.stderr and "a.journal" in gone.stderr
    empty = headway("report", tmp_path)
    assert empty.returncode == 1
    assert "no journal in" in empty.stderr
    nobody = headway("report", "--socket", tmp_path / "none.sock")
    assert nobody.returncode == 1
    assert "no daemon runs" in nobody.stderr and "headway report JOURNAL" in nobody.stderr
    for wrong in (cut, foreign, gone, empty, nobody):
        assert "Traceback" not in wrong.stderr
    assert headway("report", golden("fcfs"), "--policy", "fcsf").returncode == 2


def test_a_daemon_without_a_journal_says_so(tmp_path: Path) -> None:
    with process(tmp_path, "--no-journal"):
        told = headway("report", "--socket", socket_in(tmp_path))
    assert told.returncode == 1
    assert "keeps no journal" in told.stderr


async def test_files_that_a_daemon_rotated_in_the_midst_of_calls(tmp_path: Path) -> None:
    one_seat = CONFIG.replace("model: large}", "model: large, profile: {seats: 1}}")
    options = {"journal_bytes": 2_000, "journal_keep": 1_000}
    config = one_seat.replace("least-busy", "fcfs+release")
    async with running(tmp_path, make=make_scheduler, config=config, **options) as daemon:
        client = await Peer.hello(daemon.options.socket)
        asks = [call(number, models=("large",)) for number in range(40)]
        for ask in asks:
            client.send(RunStarted(run=ask.run, graph="coding"), ask)
        for ask in asks:  # one after the other: all others wait, over many files
            granted = await client.of(Granted)
            assert granted.call == ask.call
            ended = CallEnded(call=ask.call, attempt=1, run=ask.run, output_tokens=50)
            client.send(ended, RunEnded(run=ask.run))
        await until(lambda: daemon.shell.status()["runs_open"] == 0)
        daemon.shell.flush()
        files = journals_in(journal_folder_in(tmp_path))
        assert len(files) > 5
        found = report(files)
        await client.close()
    (runs,) = found.runs
    assert (runs.outcomes, found.runs_open) == ({"ok": 40}, 0)
    (waits,) = found.waits
    assert waits.held is not None and waits.held.n == 40
    (model,) = found.models
    assert (model.model, model.outcomes, model.output_tokens) == ("large", {"ok": 40}, 2_000)
    counts = (found.calls_by_decision, found.calls_alone, found.calls_dropped, found.calls_open)
    assert counts == (40, 0, 0, 0)
    assert found.predictions_all is not None and found.predictions_all.calls == 40
    # the last call waited while all others were served
    assert runs.completion is not None and waits.held.p99 <= runs.completion.p99
    large = next(one for one in found.endpoints if one.endpoint == "b")
    assert 0.0 < large.busy_share <= 1.0 and large.mean_running <= 1.0
