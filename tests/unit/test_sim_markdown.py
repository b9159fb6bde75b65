"""Results quoted in a page: made anew between their marks, with losses."""

import pytest

from headway.core.errors import ConfigError
from headway.sim.report.markdown import markdown, put_into
from tests.support.made_results import made_results

PAGE = "# Evaluation\n\n<!-- {0}: made by a command -->\nold\n<!-- {0} end -->\n\nafter\n"


def test_the_tables_hold_every_policy_and_every_load() -> None:
    results = made_results()
    text = markdown(results)
    for row in results.pooled:
        assert f"`{row.policy}`" in text
        load = "idle" if row.load == 0 else f"load {row.load:g}"
        assert f"mean s, {load}" in text
    assert "Where another policy" in text or "is behind no" in text


def test_only_what_is_between_the_marks_changes() -> None:
    results = made_results()
    page = PAGE.format(results.suite)
    once = put_into(page, results)
    assert "old" not in once and once.startswith("# Evaluation") and once.endswith("after\n")
    assert put_into(once, results) == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ConfigError, match="to write between"):
        put_into("# Evaluation\n", made_results())
