"""``python -m headway_samples.deep_research [--undecorated] [--runs N]``."""

import sys

from headway_samples.deep_research.corpus import topics
from headway_samples.deep_research.graph import SAMPLE
from headway_samples.runner import main
from headway_samples.sample import Driven


def describe(driven: Driven) -> str:
    """The question, how many drafts it took, and what is still wrong."""
    state = driven.state
    wrong = "".join(f"\nwrong: {each}" for each in state["complaints"])
    return f"{topics()[state['task']].question}\ndrafts: {state['drafts']}{wrong}"


if __name__ == "__main__":
    sys.exit(main(SAMPLE, describe))
