"""Watchers see what happens in the process, in order, and cannot hurt it."""

import logging
from collections.abc import Mapping

import msgspec

from headway.client import Route
from headway.client.once import Once
from headway.client.watching import ToolStarted, Watchers
from headway.core.facts import CallReady
from headway.core.types import NodeId, RunId
from tests.support.telling import ask


class Recorder:
    def __init__(self, name: str = "w", *, broken: bool = False) -> None:
        self.name, self.broken, self.seen = name, broken, []

    def _note(self, what: str) -> None:
        if self.broken:
            raise RuntimeError("a defect of the watcher")
        self.seen.append(what)

    def told(self, fact: msgspec.Struct) -> None:
        self._note(f"told {type(fact).__name__}")

    def asked(self, ask: CallReady) -> None:
        self._note("asked")

    def routed(self, ask: CallReady, route: Route) -> None:
        self._note(f"routed {route.source}")

    def headers(self, ask: CallReady) -> Mapping[str, str]:
        self._note("headers")
        return {f"x-{self.name}": "1"}


def test_they_see_all_and_headers_add_up() -> None:
    watchers = Watchers(Once())
    assert not watchers
    first, second = Recorder("a"), Recorder("b")
    for one in (first, first, second):
        watchers.add(one)
    watchers.told(ToolStarted(run=RunId("r"), node=NodeId("n"), tool="t", name="search"))
    watchers.asked(ask())
    watchers.routed(ask(), Route(endpoint=None))
    assert watchers.headers(ask()) == {"x-a": "1", "x-b": "1"}
    assert first.seen == ["told ToolStarted", "asked", "routed none", "headers"] == second.seen
    watchers.remove(first)
    watchers.asked(ask())
    assert len(first.seen) == 4 and len(second.seen) == 5


def test_a_broken_one_is_named_once_and_the_others_go_on(caplog) -> None:
    watchers, good = Watchers(Once()), Recorder()
    watchers.add(Recorder(broken=True))
    watchers.add(good)
    with caplog.at_level(logging.WARNING, "headway"):
        for _ in range(3):
            watchers.told(ask())
            watchers.asked(ask())
            watchers.routed(ask(), Route(endpoint=None))
            assert watchers.headers(ask()) == {"x-w": "1"}
    assert len(good.seen) == 12
    assert sum("a watcher" in record.getMessage() for record in caplog.records) == 1
