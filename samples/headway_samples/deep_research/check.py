"""Checks a report against the corpus: every section there, every cited fact right."""

import re

from headway_samples.deep_research.corpus import Topic, document_id, documents

_SECTION = re.compile(r"^## (?P<title>.+?)\s*$", re.MULTILINE)
_CITED = re.compile(r"(?P<sentence>[^\n]*?)\s*\[(?P<id>[\w-]+)\]")


def complaints(report: str, topic: Topic) -> tuple[str, ...]:
    """What is wrong with `report`, in the order of the topic's aspects; empty if nothing is.

    Each complaint quotes the document that the section should have cited, so
    that a revision can put it right.
    """
    sections = _sections(report)
    found = []
    for aspect in topic.aspects:
        source = documents()[document_id(topic.subject, aspect)]
        quote = f"the source says: {source.text} [{source.id}]"
        body = sections.get(aspect)
        if body is None:
            found.append(f"{aspect}: the section is missing; {quote}")
            continue
        cited = {match["id"]: match["sentence"] for match in _CITED.finditer(body)}
        unknown = sorted(key for key in cited if key not in documents())
        if unknown:
            found.append(f"{aspect}: there is no source {unknown[0]}; {quote}")
        elif source.id not in cited:
            found.append(f"{aspect}: the fact is not cited; {quote}")
        elif any(documents()[key].value not in said for key, said in cited.items()):
            found.append(f"{aspect}: the cited source says otherwise; {quote}")
    return tuple(found)


def _sections(report: str) -> dict[str, str]:
    heads = list(_SECTION.finditer(report))
    ends = [head.start() for head in heads[1:]] + [len(report)]
    return {
        head["title"].lower(): report[head.end() : end]
        for head, end in zip(heads, ends, strict=True)
    }
