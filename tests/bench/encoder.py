"""What an encoder takes: ``python -m tests.bench.encoder FOLDER`` (a folder, or an ONNX file).

Prompts of 70 to 140 words, alone and in batches of 32; the process's memory at its most, and the
time to open it. One process for each encoder, so that memory is its own.
"""

import argparse
import random
import resource
import sys
import time
from pathlib import Path

from headway.encoding.encoder import open_encoder
from tests.bench.measure import percentile

TEXT = "the model should answer a question about sorting lists and explain each step in plain words"
ALONE, BATCHES = 60, 10
BATCH = 32
"""Prompts that are handed over at once."""


def prompt(rng: random.Random) -> str:
    """Of common words, which are a token each."""
    words = TEXT.split()
    return " ".join(rng.choice(words) for _ in range(rng.randint(70, 140)))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.encoder", description=__doc__)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    rng, clock = random.Random(1), time.perf_counter
    began = clock()
    encoder = open_encoder(given.folder)
    opened_s = clock() - began
    encoder.encode([prompt(rng)])
    alone, together = [], []
    for _ in range(ALONE):
        text = [prompt(rng)]
        began = clock()
        encoder.encode(text)
        alone.append(1e3 * (clock() - began))
    for _ in range(BATCHES):
        texts = [prompt(rng) for _ in range(BATCH)]
        began = clock()
        encoder.encode(texts)
        together.append(1e3 * (clock() - began) / BATCH)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{encoder.about}: opened in {opened_s:.1f} s; a prompt alone {percentile(alone, 50):.1f} "
        f"ms, in batches of {BATCH} {percentile(together, 50):.1f} ms (P50; P90 "
        f"{percentile(together, 90):.1f}); {memory_mb:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
