"""The research sample: its corpus, its search, its checker, its graph."""

from headway_samples.deep_research.check import complaints
from headway_samples.deep_research.corpus import (
    ASPECTS,
    SUBJECTS,
    document_id,
    documents,
    search,
    topics,
)
from headway_samples.deep_research.graph import REVISIONS, SAMPLE
from tests.support.direct_chat import GENIUS, NOVICE, drive, graph_with


def _right_report(topic) -> str:
    sources = [documents()[document_id(topic.subject, aspect)] for aspect in topic.aspects]
    return "\n".join(f"## {each.aspect}\n{each.text} [{each.id}]" for each in sources)


def test_topics_ask_for_three_to_five_distinct_aspects() -> None:
    sizes = {len(topic.aspects) for topic in topics()}
    assert sizes == {3, 4, 5}
    assert all(len(set(topic.aspects)) == len(topic.aspects) for topic in topics())


def test_search_finds_every_fact_first() -> None:
    for subject in SUBJECTS:
        for aspect in ASPECTS:
            assert search(f"{subject} {aspect}")[0].id == document_id(subject, aspect)
    assert search("xyzzy") == ()


def test_a_right_report_has_no_complaints() -> None:
    for topic in topics():
        assert complaints(_right_report(topic), topic) == ()


def test_each_kind_of_mistake_is_told_with_the_source() -> None:
    topic = topics()[0]
    aspect = topic.aspects[0]
    source = documents()[document_id(topic.subject, aspect)]
    right = _right_report(topic)
    mistakes = {
        "the section is missing": right.replace(f"## {aspect}\n", ""),
        "there is no source nowhere": right.replace(f"[{source.id}]", "[nowhere]"),
        "the fact is not cited": right.replace(f" [{source.id}]", ""),
        "the cited source says otherwise": right.replace(source.value, "something else"),
    }
    for told, report in mistakes.items():
        found = complaints(report, topic)
        assert len(found) == 1, (told, found)
        assert told in found[0]
        assert source.text in found[0]


async def test_good_models_need_one_draft() -> None:
    for task in (0, 1, 5):
        driven = await drive(SAMPLE, graph_with(SAMPLE, skill=GENIUS), task=task)
        assert driven.solved
        assert driven.state["drafts"] == 1
        assert len(driven.state["findings"]) == len(topics()[task].aspects)


async def test_bad_models_are_sent_back_twice() -> None:
    driven = await drive(SAMPLE, graph_with(SAMPLE, skill=NOVICE), task=1)
    assert not driven.solved
    assert driven.state["drafts"] == 1 + REVISIONS


async def test_a_good_writer_mends_bad_research_when_sent_back() -> None:
    graph = graph_with(SAMPLE, skill=NOVICE, only={"writer": GENIUS})
    driven = await drive(SAMPLE, graph, task=1)
    assert driven.solved
    assert driven.state["drafts"] == 2


async def test_a_bad_planner_costs_a_draft() -> None:
    graph = graph_with(SAMPLE, skill=GENIUS, only={"planner": NOVICE})
    driven = await drive(SAMPLE, graph, task=2)
    assert driven.solved
    assert driven.state["drafts"] == 2
