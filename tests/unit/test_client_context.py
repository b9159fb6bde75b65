"""What `import headway` gives a user's program, and what it costs."""

import logging
import subprocess
import sys

import pytest

import headway
from headway import client, context
from headway.client import paths
from headway.core.facts import Feedback


class Listener:
    def __init__(self) -> None:
        self.told = []

    def observe(self, fact):
        self.told.append(fact)


@pytest.fixture
def listener(monkeypatch):
    listener = Listener()
    monkeypatch.setattr(client, "get_client", lambda: listener)
    return listener


def test_a_scope_whose_node_has_ended_gives_way_to_the_one_around_it(listener):
    live = {"outer", "inner"}

    def is_live(scope):
        return scope.node in live

    outer = context.Scope(run="r1", node="outer", is_live=is_live)
    inner = context.Scope(run="r2", node="inner", is_live=is_live, outer=outer)
    token = context.scope.set(inner)
    try:
        assert headway.current_run() == "r2"
        live.remove("inner")
        assert context.live_scope() is outer
        headway.feedback(True)
        live.clear()
        assert headway.current_run() is None
    finally:
        context.scope.reset(token)
    assert listener.told == [Feedback(run="r1", ok=True)]


def test_current_run_never_raises():
    def broken(scope):
        raise RuntimeError("theirs")

    token = context.scope.set(context.Scope(run="r1", is_live=broken))
    try:
        assert headway.current_run() is None
    finally:
        context.scope.reset(token)


def test_feedback_is_about_the_current_run_unless_told_otherwise(listener):
    token = context.scope.set(context.Scope(run="r1", node="n1"))
    try:
        assert headway.current_run() == "r1"
        headway.feedback(True)
        headway.feedback(False, run="r2", node="n2")
    finally:
        context.scope.reset(token)
    assert listener.told == [Feedback(run="r1", ok=True), Feedback(run="r2", ok=False, node="n2")]


def test_feedback_outside_a_run_is_a_debug_line_once(listener, monkeypatch, caplog):
    monkeypatch.setattr(context, "_said", set())
    assert headway.current_run() is None
    with caplog.at_level(logging.DEBUG, logger="headway"):
        headway.feedback(True)
        headway.feedback(True)
    assert listener.told == []
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.DEBUG


def test_feedback_never_raises(monkeypatch):
    def broken():
        raise RuntimeError("no client today")

    monkeypatch.setattr(client, "get_client", broken)
    headway.feedback(True, run="r1")


def test_importing_headway_brings_no_client():
    code = (
        "import sys, headway\n"
        "heavy = {'asyncio', 'selectors', 'socket', 'headway.client', 'headway.core.facts'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestPaths:
    def test_the_socket_is_where_the_environment_says(self, monkeypatch):
        monkeypatch.setenv("HEADWAY_SOCKET", "/x/y.sock")
        assert str(paths.default_socket_path()) == "/x/y.sock"
        monkeypatch.delenv("HEADWAY_SOCKET")
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
        assert str(paths.default_socket_path()) == "/run/user/1/headway/headway.sock"
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setenv("HOME", "/home/me")
        assert str(paths.default_socket_path()) == "/home/me/.headway/run/headway.sock"

    def test_the_pool_view_lies_beside_it(self, tmp_path):
        assert paths.pool_view_path(tmp_path / "a.sock") == tmp_path / "a.sock.pool"
