"""What the emulated models say in each role of the research graph.

A weak planner forgets an aspect, a weak researcher misreports what the tool
said, a weak writer gets a fact wrong; a writer sent back can put all of it
right, because the complaints quote the sources.
"""

import json
import re

from headway.emulate.answers import Answer, ToolCall, text_of
from headway_samples.deep_research.corpus import (
    ASPECTS,
    SUBJECTS,
    Document,
    Topic,
    document_id,
    documents,
    topics,
)
from headway_samples.luck import Luck

MEDIAN_TOKENS = {"plan": 200, "search": 90, "research": 180, "report": 700}
EASIER = {"plan": 0.25, "research": 0.3, "report": 0.1}
"""How much easier than the topic itself a role's part of it is."""

_FINDING = re.compile(r"^- (\w+): ([^\n]*)$", re.MULTILINE)


def answer(luck: Luck) -> Answer:
    """The answer for the role that the marker names."""
    topic = topics()[luck.marker.task]
    role = luck.marker.role
    if role == "research" and luck.request.messages[-1].get("role") != "tool":
        query = json.dumps({"query": f"{topic.subject} {luck.marker.part}"})
        return Answer(
            text="",
            output_tokens=luck.tokens(median=MEDIAN_TOKENS["search"], role="search"),
            tool_calls=(ToolCall(name="search", arguments=query),),
        )
    right = luck.right(difficulty=topic.difficulty - EASIER[role], question=role)
    says = {"plan": _plan, "research": _finding, "report": _report}[role]
    return Answer(
        text=says(luck, topic, right),
        output_tokens=luck.tokens(median=MEDIAN_TOKENS[role], role=role, right=right),
    )


def _plan(luck: Luck, topic: Topic, right: bool) -> str:
    planned = topic.aspects if right else topic.aspects[:-1]
    return "\n".join(f"- {aspect}: what is the {aspect} of {topic.subject}?" for aspect in planned)


def _finding(luck: Luck, topic: Topic, right: bool) -> str:
    source = documents()[document_id(topic.subject, luck.marker.part)]
    return _cited(luck, source, right)


def _report(luck: Luck, topic: Topic, right: bool) -> str:
    if luck.marker.attempt == 1:
        prompt = "\n".join(text_of(message) for message in luck.request.messages)
        sections = dict(_FINDING.findall(prompt))
    else:
        sources = {each: documents()[document_id(topic.subject, each)] for each in topic.aspects}
        sections = {each: _cited(luck, source, True) for each, source in sources.items()}
    if not right and sections:
        spoilt = luck.choice(sorted(sections), what="spoilt section")
        if spoilt in ASPECTS:
            sections[spoilt] = _cited(luck, documents()[document_id(topic.subject, spoilt)], False)
    body = "\n\n".join(f"## {aspect}\n{text}" for aspect, text in sections.items())
    return f"# {topic.subject}\n\nA short report.\n\n{body}\n\n## conclusion\nThat is all.\n"


def _cited(luck: Luck, source: Document, right: bool) -> str:
    """The fact with its source; if it is to be wrong, with another town's value."""
    if right:
        return f"{source.text} [{source.id}]"
    others = [documents()[document_id(subject, source.aspect)].value for subject in SUBJECTS]
    other = luck.choice([each for each in others if each != source.value], what="wrong value")
    return f"{source.text.replace(source.value, other)} [{source.id}]"
