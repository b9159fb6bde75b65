"""Runs one sample by itself: ``python -m headway_samples.NAME``.

Without anything given it starts an emulated pool and, unless undecorated, a
daemon, drives a few runs and prints how they went. With ``OPENAI_BASE_URL`` set
it uses what listens there, and the daemon that ``HEADWAY_SOCKET`` names.
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI

from headway_samples.pool import MIDDLE, SamplePool, make_pool
from headway_samples.processes import daemon, emulator, explain
from headway_samples.sample import POOL_NAME, Driven, Job, Sample
from headway_samples.stopping import Stopped, run_stoppable

SPEEDUP = 10.0
NO_KEY = "none-needed"
URL_VARIABLE = "OPENAI_BASE_URL"
SOCKET_VARIABLE = "HEADWAY_SOCKET"
Describe = Callable[[Driven], str]


def main(sample: Sample, describe: Describe, arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print. 0 if every run ended."""
    parser = argparse.ArgumentParser(prog=f"python -m headway_samples.{sample.name}")
    parser.add_argument("--undecorated", action="store_true", help="without Headway")
    parser.add_argument("--runs", type=int, default=4, help="how many runs, side by side")
    parser.add_argument("--model", default="", help="model to ask for (default: the pool's name)")
    options = parser.parse_args(arguments)
    try:
        return run_stoppable(_run(sample, describe, options))
    except Stopped as stopped:
        print(stopped)
        return stopped.status


async def _run(sample: Sample, describe: Describe, options: argparse.Namespace) -> int:
    async with contextlib.AsyncExitStack() as stack:
        url, model, speedup = os.environ.get(URL_VARIABLE, ""), POOL_NAME, 1.0
        socket: Path | None = None
        if not url:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-")))
            pool = make_pool(speedup=SPEEDUP)
            speedup = pool.speedup
            await stack.enter_async_context(emulator(pool, folder=folder))
            url, model = _plain_target(pool)
            if not options.undecorated:
                socket = await stack.enter_async_context(daemon(pool, folder=folder))
                os.environ[SOCKET_VARIABLE] = str(socket)
                model = POOL_NAME
        client = ChatOpenAI(
            model=options.model or model,
            base_url=url,
            api_key=os.environ.get("OPENAI_API_KEY", NO_KEY),  # type: ignore[arg-type]
        )
        build = sample.build if options.undecorated else sample.build_scheduled
        graph = build(lambda node: client)

        async def pause(seconds: float) -> None:
            await asyncio.sleep(seconds / speedup)

        jobs = [_job(sample, number) for number in range(options.runs)]
        results = await asyncio.gather(
            *(sample.drive(graph, job, pause) for job in jobs), return_exceptions=True
        )
        _print_all(sample, describe, results, speedup)
        if socket is not None:
            print(await explain(socket))
        return int(any(isinstance(each, BaseException) for each in results))


def _plain_target(pool: SamplePool) -> tuple[str, str]:
    """Where a program without Headway would send its calls: one model, one endpoint."""
    _, url, model = pool.of(MIDDLE)[0]
    return url, model


def _job(sample: Sample, number: int) -> Job:
    """The jobs step through the tasks with a stride, so that a few are of mixed difficulty."""
    return Job(
        task=number * 7 % sample.tasks,
        variant=number,
        thread=f"{sample.name}-{number}",
        metadata={"headway_class": sample.service_class},
    )


def _print_all(sample: Sample, describe: Describe, results: list[Any], speedup: float) -> None:
    for number, result in enumerate(results):
        if isinstance(result, BaseException):
            print(f"{sample.name} {number}: FAILED: {result!r}")
            continue
        verdict = "solved" if result.solved else "not solved"
        print(f"{sample.name} {number}: {verdict} in {result.busy_s * speedup:.1f} s")
        print("    " + describe(result).replace("\n", "\n    "))
    unit = "emulated seconds" if speedup != 1.0 else "seconds"
    print(f"(times in {unit}, without the person's pauses)")
