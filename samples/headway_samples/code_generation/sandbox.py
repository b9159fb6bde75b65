"""Runs generated code with its unit tests in a subprocess of its own.

The subprocess is isolated from this program's packages, environment and
working directory (``python -I -S``), and limited in time, CPU seconds and
memory. That guards against accidents (endless loops, runaway memory), not
against malice: for code of untrusted origin use a container.
"""

import asyncio
import contextlib
import sys
import tempfile
from dataclasses import dataclass

TIMEOUT_S = 10.0
KEPT_CHARS = 600

_LIMITS = """\
import resource as _r
_r.setrlimit(_r.RLIMIT_CPU, (5, 5))
_r.setrlimit(_r.RLIMIT_AS, (1 << 29, 1 << 29))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether all tests passed, and the end of what the failing program printed."""

    passed: bool
    output: str


async def run_tests(code: str, tests: str, *, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Run `code` followed by `tests`. Passed means that the program ended with status 0."""
    program = f"{_LIMITS}\n{code}\n{tests}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tempfile.gettempdir(),
        env={},
    )
    try:
        async with asyncio.timeout(timeout_s):
            printed, _ = await process.communicate(program.encode())
    except TimeoutError:
        return Verdict(passed=False, output=f"the tests did not end within {timeout_s:g} s")
    finally:
        if process.returncode is None:
            # It may end between the look and the signal.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return Verdict(
        passed=process.returncode == 0,
        output=printed.decode(errors="replace")[-KEPT_CHARS:],
    )
