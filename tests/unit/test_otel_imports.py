"""OpenTelemetry is imported by who asks for it only, and its absence is named."""

import subprocess
import sys

PLAIN = """
import sys
import langchain_core.callbacks.manager, langgraph.callbacks, langgraph.graph, langgraph.func
theirs = {m for m in sys.modules if m.startswith("opentelemetry")}  # LangChain may import some
import headway, headway.client, headway_langgraph
headway.client.get_client()
assert headway_langgraph.schedule and headway.client.get_client().watchers is not None
found = {m for m in sys.modules if m.startswith(("opentelemetry", "headway_otel"))} - theirs
assert not found, sorted(found)
"""
NO_API = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import headway_langgraph
try:
    import headway_otel
except ImportError as error:
    print(error)
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_it_is_imported_unasked() -> None:
    run(PLAIN)
    imported = "[name for name in sys.modules if name.startswith('opentelemetry')]"
    said = run(f"import sys, headway, headway.client, headway.calling.calls; print({imported})")
    assert said.strip() == "[]"


def test_without_the_extra_the_error_says_what_to_install() -> None:
    said = run(NO_API)
    assert "pip install 'headway[otel]'" in said
