"""Three real vLLM servers for the tests marked `vllm`: one start a session.

Without the environment (`make vllm`) these tests are skipped, and the end of the run says so; with
``$HEADWAY_VLLM_REQUIRED`` set, as in CI, they fail instead.
"""

import os
from collections.abc import Iterator

import pytest

from headway.engine import EngineProfile
from tests.paced import install
from tests.paced.servers import PacedPool, PacedServer

REQUIRED = "HEADWAY_VLLM_REQUIRED"
START_TIMEOUT_S = 300
"""pytest's limit for a test that may have to wait for the servers; an import of vLLM is slow."""
SKIPPED = pytest.StashKey[str]()


def server(name: str, times: float, *, prefill_tokens_s: float) -> PacedServer:
    """A server whose step takes `times` that of the small one."""
    made = EngineProfile(
        step_s=0.01 * times,
        prefill_s=1 / prefill_tokens_s,
        seq_s=0.00005 * times,
        context_s=1e-7 * times,
        seats=8,
        kv_tokens=32768,
        block_tokens=32,
        step_tokens=2048,
    )
    return PacedServer(name=name, model=name, profile=made)


SMALL = server("small", 1, prefill_tokens_s=8000)
MIDDLE = server("middle", 3, prefill_tokens_s=2700)
LARGE = server("large", 8, prefill_tokens_s=1000)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs the environment where it is missing, before any fixture is made."""
    marked = [item for item in items if item.get_closest_marker("vllm")]
    for item in marked:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(START_TIMEOUT_S))
    why = install.why_not_ready(install.location())
    if not marked or why is None or os.environ.get(REQUIRED):
        return
    reason = f"{why}: run `make vllm`"
    config.stash[SKIPPED] = f"{len(marked)} tests on real vLLM were NOT run: {reason}"
    for item in marked:
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly what was skipped."""
    if said := config.stash.get(SKIPPED, ""):
        terminalreporter.write_line(said, yellow=True, bold=True)


@pytest.fixture(scope="session")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PacedPool]:
    """A small, a middle and a large server; a test leaves all three up and idle.

    Fails with `PacedError` if the environment is missing where it is required.
    """
    with PacedPool([SMALL, MIDDLE, LARGE], tmp_path_factory.mktemp("paced")) as pool:
        yield pool
