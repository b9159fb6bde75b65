"""``python -m headway_samples.support_chat [--undecorated] [--runs N]``."""

import sys

from headway_samples.runner import main
from headway_samples.sample import Driven
from headway_samples.support_chat.graph import SAMPLE


def describe(driven: Driven) -> str:
    """The conversation."""
    return str(driven.state["history"]).rstrip()


if __name__ == "__main__":
    sys.exit(main(SAMPLE, describe))
