"""The parts of a prediction page that an assessment makes anew, and their pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headway.sim.assess import pictures, telling
from headway.sim.assess.ends import HORIZON_COLUMNS
from headway.sim.assess.footprints import RESERVED_COLUMNS
from headway.sim.assess.measures import LENGTH_COLUMNS
from headway.sim.assess.returns import RETURN_COLUMNS
from headway.sim.assess.starts import START_COLUMNS
from headway.sim.assess.streams import STREAM_COLUMNS
from headway.sim.assess.tables import page
from headway.sim.assess.telling import Assessment
from headway.sim.assess.texts import TEXT_COLUMNS
from headway.sim.assess.topologies import TOPOLOGY_COLUMNS

LENGTHS, HORIZONS, CONFIDENCE, ENCODED = "assess", "horizons", "confidence", "encoder"
STARTS, STREAMS, TEXTS = "starts", "streams", "texts"
TOPOLOGIES, FOOTPRINTS, RETURNS = "topologies", "footprints", "returns"
DRAWN: dict[str, tuple[str, str, Callable[[Any, Path], None]]] = {
    LENGTHS: ("lengths", "output length, set by set", pictures.draw_lengths),
    HORIZONS: ("horizons", "what is left of runs, set by set", pictures.draw_horizons),
    CONFIDENCE: ("confidence", "right answers, set by set", pictures.draw_confidence),
    ENCODED: ("encoder", "right answers with an encoder, set by set", pictures.draw_confidence),
}
"""Of a part: its picture's file, what that shows, and who draws it."""


def parts_of(sets: Sequence[str], pairs: Sequence[str], *, encoded: bool = False) -> list[str]:
    """The parts that an assessment of these sets and labelled pairs fills.

    With an encoder there is one for pairs, of its own.
    """
    recorded = [LENGTHS, STARTS, STREAMS, HORIZONS, TOPOLOGIES, FOOTPRINTS, RETURNS] if sets else []
    labelled = [ENCODED] if encoded else [TEXTS, CONFIDENCE]
    return recorded + (labelled if pairs else [])


def contents(whole: Assessment, parts: Sequence[str], folder: Path) -> dict[str, str]:
    """Each part in Markdown; pictures go into ``results/`` in the page's `folder`."""
    head = telling.head(whole)
    found: dict[str, tuple[Sequence[Any], str]] = {
        LENGTHS: (whole.lengths, page(head, LENGTH_COLUMNS, whole.lengths)),
        STARTS: (whole.starts, page(head, START_COLUMNS, whole.starts)),
        STREAMS: (whole.streams, page(head, STREAM_COLUMNS, whole.streams)),
        TEXTS: (whole.texts, page(head, TEXT_COLUMNS, whole.texts)),
        HORIZONS: (whole.horizons, page(head, HORIZON_COLUMNS, whole.horizons)),
        TOPOLOGIES: (whole.topologies, page(head, TOPOLOGY_COLUMNS, whole.topologies)),
        FOOTPRINTS: (whole.footprints, page(head, RESERVED_COLUMNS, whole.footprints)),
        RETURNS: (whole.returns, page(head, RETURN_COLUMNS, whole.returns)),
        CONFIDENCE: (whole.confidences, telling.confidence_markdown(whole)),
        ENCODED: (whole.confidences, telling.confidence_markdown(whole)),
    }
    made = {}
    for part in parts:
        judged, text = found[part]
        if part in DRAWN and judged:
            name, about, draw = DRAWN[part]
            file = folder / "results" / f"prediction-{name}.png"
            file.parent.mkdir(exist_ok=True)
            draw(judged, file)
            text += f"\n![{about}](results/{file.name})\n"
        made[part] = text
    return made
