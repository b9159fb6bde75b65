"""Helpers for tests of the LangGraph integration: a fresh installation, and facts made readable."""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypedDict

import pytest

import headway_langgraph.installation as install_module
import headway_langgraph.openai_patch as patch_module
import headway_langgraph.tracker as tracker_module
from headway.calling.guard import complaints
from headway.core.facts import NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from headway_langgraph.installation import Installation
from tests.support.fake_client import FakeClient


class State(TypedDict, total=False):
    x: Annotated[list[Any], operator.add]


@contextmanager
def using(client: FakeClient) -> Iterator[Installation]:
    """`client` is the process's client, in a fresh installation that is taken out afterwards.

    Fails if a hook of ours complained.
    """
    installation = Installation()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(install_module, "_installation", installation)
        for module in (install_module, patch_module, tracker_module):
            patch.setattr(module, "get_client", lambda: client)
        complaints.counts.clear()
        installation.calls.forked()  # the books are the process's, and other tests' still
        try:
            yield installation
        finally:
            installation.uninstall()
    assert complaints.counts == {}, complaints.counts


def assert_clean(installation: Installation) -> None:
    """Nothing is remembered of runs that have ended."""
    tracker = installation.tracker
    assert tracker._runs == {} and tracker._nodes == {} and tracker._chains == {}
    assert installation.calls._open == {} and installation.calls.llms == {}


def two_endpoints(a_url: str, b_url: str, **b: Any) -> Pool:
    """`small` at A and `large` at B."""
    return Pool(
        endpoints=(
            EndpointSpec(id=EndpointId("a"), url=a_url, model="small", engine="vllm"),
            EndpointSpec(id=EndpointId("b"), url=b_url, model="large", engine="vllm", **b),
        )
    )


def shape(client: FakeClient) -> list[str]:
    """What happened to runs and nodes, one line each, in order, with names for ids.

    ``+name#visit@step <- parents`` a node starts, ``-name`` it ended (outcome unless ok),
    ``>graph`` a run starts (``^node`` its parent node, ``resumed``), ``<graph`` it ended.
    """
    names: dict[str, str] = {}
    lines = []
    for fact in client.of(RunStarted, RunEnded, NodeStarted, NodeEnded):
        if isinstance(fact, RunStarted):
            names[fact.run] = fact.graph
            within = f"^{names[fact.parent_node]}" if fact.parent_node else ""
            lines.append(f">{fact.graph}{within}{' resumed' if fact.resumed else ''}")
        elif isinstance(fact, RunEnded):
            lines.append(f"<{names[fact.run]}{_how(fact.outcome)}")
        elif isinstance(fact, NodeStarted):
            names[fact.node] = fact.name
            parents = ",".join(sorted(names[parent] for parent in fact.parents))
            lines.append(
                f"+{fact.name}#{fact.visit}@{fact.step}{' <- ' if parents else ''}{parents}"
            )
        else:
            lines.append(f"-{names[fact.node]}{_how(fact.outcome)}")
    return lines


def starts(client: FakeClient) -> list[str]:
    """Only the node starts of `shape`, sorted within a step (its nodes start in any order)."""
    return [line for line in shape(client) if line.startswith("+")]


def _how(outcome: str) -> str:
    return "" if outcome == "ok" else f" {outcome}"
