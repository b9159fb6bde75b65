"""The validity table in a page."""

import pytest

from tests.validity.page import markdown, put_into

SAID = {
    "within": 0.1,
    "agree": True,
    "sizes": {"runs": 120, "load": 0.75, "seeds": list(range(1, 2 + 1))},
    "verdicts": [
        {
            "policy": "x",
            "mean": 1.02,
            "mean_spread": [0.98, 1.03],
            "p95": 0.99,
            "p95_spread": [0.9, 1.1],
            "green": True,
        }
    ],
    "pairs": [
        {"policy": "x", "speedup": 20.0, "lateness": 0.03, "decision_s": 0.02, "transport_s": 0.04},
        {"policy": "x", "speedup": 15.0, "lateness": 0.04, "decision_s": 0.03, "transport_s": 0.04},
    ],
}


def test_the_worst_lateness_and_all_charges_are_told() -> None:
    text = markdown(SAID)
    assert "| `x` | 1.020 | 0.98 to 1.03 | 0.990 | 0.90 to 1.10 | 4.0% green |" in text
    assert "15x and 20x" in text and "60 to 70 emulated ms" in text and "within 10%: yes" in text


def test_only_its_part_of_the_page_changes() -> None:
    page = "a\n<!-- validity: by hand -->\nold\n<!-- validity end -->\nb\n"
    once = put_into(page, SAID)
    assert once.startswith("a\n") and once.endswith("\nb\n") and "old" not in once
    assert put_into(once, SAID) == once
    with pytest.raises(ValueError, match="no lines"):
        put_into("a", SAID)
