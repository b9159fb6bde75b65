"""``python -m headway_samples.code_generation [--undecorated] [--runs N]``."""

import sys

from headway_samples.code_generation.graph import SAMPLE
from headway_samples.code_generation.tasks import tasks
from headway_samples.runner import main
from headway_samples.sample import Driven


def describe(driven: Driven) -> str:
    """The task and how many attempts it took."""
    state = driven.state
    return f"{tasks()[state['task']].says}\nattempts: {state['attempt']}"


if __name__ == "__main__":
    sys.exit(main(SAMPLE, describe))
