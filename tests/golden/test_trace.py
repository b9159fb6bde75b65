"""The golden trace: its form does not change unmeant, and it holds what rebuilds the runs."""

from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")

from headway_otel import conventions
from headway_samples.trace_file import NotATrace, read_runs, read_spans
from tests.golden.trace import BEGAN_NS, GOLDEN, recorded

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "spans.md"


def test_spans_are_written_as_recorded() -> None:
    assert recorded() == GOLDEN.read_text(encoding="utf-8"), (
        "the form of spans differs from the recorded one. If that is meant: "
        "python -m tests.golden.trace"
    )


def test_the_runs_can_be_rebuilt_from_it() -> None:
    research, editor, resumed = read_runs(GOLDEN)
    assert [run.graph for run in (research, editor, resumed)] == ["research", "editor", "research"]
    assert research.span.start_s == BEGAN_NS / 1e9
    assert [node.label for node in research.nodes] == ["plan", "research", "research", "write"]
    assert [node.parents for node in research.nodes] == [(), (0,), (0,), (1, 2)]
    plan, a, b, write = research.nodes
    (call,) = plan.calls
    assert call.number("gen_ai.usage.input_tokens") == 100
    assert call.number("gen_ai.usage.output_tokens") == 50
    assert call.number("gen_ai.response.time_to_first_chunk") == 0.198
    assert [tool.end_s - tool.start_s for tool in a.tools] == [pytest.approx(0.3)]
    failed, again = b.calls
    assert failed.number("headway.wait_s") == pytest.approx(0.499)
    assert failed.text("error.type") == "503"
    assert again.number("headway.attempt") == 2
    assert editor.span.parent == write.span.id
    assert editor.span.text("gen_ai.operation.name") == "invoke_agent"
    assert resumed.nodes[0].label == "write (2)"
    assert resumed.span.links == ((research.span.trace, research.span.id),)


def test_every_attribute_is_documented() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    used = {name for span in read_spans(GOLDEN) for name in span.attributes}
    assert used  # and of those that this trace has no reason for:
    ours = ("gen_ai.", "headway.", "server.", "error.")
    named = [value for value in vars(conventions).values() if isinstance(value, str)]
    used |= {value for value in named if value.startswith(ours)}
    missing = sorted(name for name in used if f"`{name}`" not in text)
    assert not missing
    assert conventions.SEMCONV.partition("@")[2] in text and conventions.SCHEMA_URL in text


@pytest.mark.parametrize("line", ["{", "[]", '{"resourceSpans": [{}]}', '{"a": 1}'])
def test_what_is_no_trace_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(GOLDEN.read_text().splitlines()[0] + "\n" + line + "\n")
    with pytest.raises(NotATrace, match=r"odd\.json:2: "):
        read_runs(path)


def test_a_file_without_runs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text("\n")
    with pytest.raises(NotATrace, match="no span of a run"):
        read_runs(path)
