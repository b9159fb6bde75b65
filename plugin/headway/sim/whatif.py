"""What if: the runs of a user's own recording, replayed closed-loop on a pool."""

from pathlib import Path

from headway.sim.sitespec import PoolSpec, SiteSpec
from headway.sim.suite import (
    ArrivalsSpec,
    BodiesSpec,
    PolicySpec,
    Sizes,
    SizeSpec,
    Suite,
    TraceSpec,
)

POLICIES = ("fcfs", "least-busy", "headway")


def what_if_suite(journal: Path, name: str, *, speedup: float = 1.0) -> Suite:
    """A suite of one trace, the journal's, at multiples of the rate at which it was recorded.

    Every recorded run is played, in its order; predictors start with nothing, as nothing is
    kept back to teach them. The pool is a stand-in: the runner is handed the user's own. Times
    recorded on an emulator are `speedup` times as long on its servers' scale.
    """
    size = SizeSpec(seeds=1, loads=(1.0,), history=0)
    stand_in = PoolSpec(
        name="own", reference="qwen2.5-7b", sites=(SiteSpec(preset="qwen2.5-7b@a100"),)
    )
    trace = TraceSpec(
        name=journal.stem or "journal",
        pools=("own",),
        bodies=(BodiesSpec(journal=str(journal), speedup=speedup),),
        arrivals=ArrivalsSpec(kind="recorded"),
        history_share=0.0,
        keep_models=True,
        burst=True,  # a recording is judged whole: it has no warm-up to leave out
    )
    return Suite(
        name=name,
        about=f"the recording {journal} on your pool",
        pools=(stand_in,),
        traces=(trace,),
        policies=tuple(PolicySpec(id=each) for each in POLICIES),
        knee_policy="fcfs",
        sizes=Sizes(quick=size, default=size, full=size),
        deviations=(
            "loads are multiples of the recorded arrival rate, not of a knee",
            "prompt and output tokens are those recorded, whichever model answers, and so are the "
            "attempts: a journal has no labels, so what a better or worse model would have changed "
            "is not judged here",
        ),
    )
