"""Shows a trace: ``python -m headway_samples.trace [--out DIR] [--from FILE]``.

Runs the research sample on an emulated pool with a daemon, writes the spans of all runs as
OTLP's JSON, and draws the run whose calls waited longest. ``--from`` draws from such a file.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from langchain_openai import ChatOpenAI
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import headway_otel
from headway_otel.files import OtlpJsonFile
from headway_samples.deep_research.graph import SAMPLE
from headway_samples.pool import MIDDLE, make_pool
from headway_samples.processes import daemon, emulator
from headway_samples.runner import NO_KEY, SOCKET_VARIABLE
from headway_samples.sample import POOL_NAME, Job, sleep_pause
from headway_samples.stopping import Stopped, run_stoppable
from headway_samples.trace_file import NotATrace, Run, read_runs
from headway_samples.trace_picture import draw

SPEEDUP = 10.0
SPANS, PICTURE = "trace.otlp.json", "trace.png"


def main(arguments: list[str] | None = None) -> int:
    """The command line. 0 if there is a picture."""
    parser = argparse.ArgumentParser(prog="python -m headway_samples.trace", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("trace-out"), help="folder for the files")
    parser.add_argument("--from", dest="file", type=Path, help="draw from this file; run nothing")
    parser.add_argument("--run", default="", help="id of the run to draw (or how it begins)")
    parser.add_argument("--runs", type=int, default=8, help="how many runs, side by side")
    parser.add_argument("--speedup", type=float, default=SPEEDUP, help="emulated seconds a second")
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.speedup <= 0:
        parser.error("--runs and --speedup must be positive")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        file = options.file
        if file is None:
            file = options.out / SPANS
            file.unlink(missing_ok=True)
            run_stoppable(record(file, runs=options.runs, speedup=options.speedup))
            print(f"spans:   {file}")
        run = chosen(read_runs(file), options.run)
        draw(run, options.out / PICTURE)
    except Stopped as stopped:
        print(stopped)
        return stopped.status
    except (NotATrace, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"picture: {options.out / PICTURE}")
    return 0


def chosen(runs: list[Run], begin: str) -> Run:
    """The run whose id begins so; else the one whose calls waited longest. Raises `NotATrace`."""
    able = [run for run in runs if run.id.startswith(begin)]
    if not able:
        raise NotATrace(
            f"no run's id begins with {begin!r}; there are: {', '.join(r.id for r in runs)}"
        )
    return max(able, key=lambda run: (run.waited_s, run.id))


async def record(file: Path, *, runs: int, speedup: float) -> int:
    """Run the sample this many times side by side and write all spans into `file`."""
    provider = TracerProvider(resource=Resource.create({"service.name": "headway-samples"}))
    provider.add_span_processor(BatchSpanProcessor(OtlpJsonFile(file)))
    try:
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-")))
            pool = make_pool(speedup=speedup)
            await stack.enter_async_context(emulator(pool, folder=folder))
            socket = await stack.enter_async_context(daemon(pool, folder=folder))
            os.environ[SOCKET_VARIABLE] = str(socket)
            headway_otel.install(provider)
            _, url, _ = pool.of(MIDDLE)[0]
            client = ChatOpenAI(model=POOL_NAME, base_url=url, api_key=NO_KEY)  # type: ignore[arg-type]
            graph = SAMPLE.build_scheduled(lambda node: client)
            await asyncio.gather(
                *(SAMPLE.drive(graph, job(number), sleep_pause) for number in range(runs))
            )
    finally:
        headway_otel.uninstall()
        provider.shutdown()
    return 0


def job(number: int) -> Job:
    """The jobs step through the tasks, so that the runs are of different shapes."""
    return Job(
        task=number * 7 % SAMPLE.tasks,
        variant=number,
        thread=f"trace-{number}",
        metadata={"headway_class": SAMPLE.service_class},
    )


if __name__ == "__main__":
    sys.exit(main())
