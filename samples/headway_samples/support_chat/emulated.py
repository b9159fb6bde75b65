"""What the emulated models say to the support desk's prompts.

A weak classifier names the wrong category, and then the first answer cannot
be right: its prompt holds the wrong part of the handbook.
"""

import json

from headway.emulate.answers import Answer, ToolCall, text_of
from headway_samples.luck import Luck
from headway_samples.support_chat.cases import CATEGORIES, Case, cases, order_book

MEDIAN_TOKENS = {"classify": 100, "look_up": 90, "answer": 220}
EASIER = {"classify": 0.3, "answer": 0.0}
"""How much easier than the case itself a role's part of it is."""


def answer(luck: Luck) -> Answer:
    """The answer for the role that the marker names."""
    case = cases()[luck.marker.task]
    role = luck.marker.role
    looked_up = luck.request.messages[-1].get("role") == "tool"
    if role == "answer" and case.order and not looked_up:
        return Answer(
            text="",
            output_tokens=luck.tokens(median=MEDIAN_TOKENS["look_up"], role="look_up"),
            tool_calls=(
                ToolCall(name="look_up_order", arguments=json.dumps({"order": case.order})),
            ),
        )
    right = luck.right(difficulty=case.difficulty - EASIER[role], question=role)
    text = _category(luck, case, right) if role == "classify" else _reply(luck, case, right)
    return Answer(
        text=text, output_tokens=luck.tokens(median=MEDIAN_TOKENS[role], role=role, right=right)
    )


def _category(luck: Luck, case: Case, right: bool) -> str:
    if right:
        return case.category
    others = [category for category in CATEGORIES if category != case.category]
    return luck.choice(others, what="wrong category")


def _reply(luck: Luck, case: Case, right: bool) -> str:
    prompt = "\n".join(text_of(message) for message in luck.request.messages)
    known = case.resolution in prompt
    if right and known:
        status = f" We looked: {order_book(case.order)}." if case.order else ""
        return f"Thank you for writing.{status} In short: {case.resolution}."
    others = [each.resolution for each in cases() if each.resolution != case.resolution]
    return f"Thank you for writing. In short: {luck.choice(others, what='wrong reply')}."
