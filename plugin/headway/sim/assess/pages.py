"""The parts of a prediction page that an assessment makes anew, and their pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headway.sim.assess import pictures, telling
from headway.sim.assess.ends import horizon_page
from headway.sim.assess.footprints import footprint_page
from headway.sim.assess.returns import returns_page
from headway.sim.assess.starts import start_page
from headway.sim.assess.streams import stream_page
from headway.sim.assess.telling import Assessment
from headway.sim.assess.texts import text_page
from headway.sim.assess.topologies import topology_page

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
        LENGTHS: (whole.lengths, telling.markdown(whole)),
        STARTS: (whole.starts, start_page(head, whole.starts)),
        STREAMS: (whole.streams, stream_page(head, whole.streams)),
        TEXTS: (whole.texts, text_page(head, whole.texts)),
        HORIZONS: (whole.horizons, horizon_page(head, whole.horizons)),
        TOPOLOGIES: (whole.topologies, topology_page(head, whole.topologies)),
        FOOTPRINTS: (whole.footprints, footprint_page(head, whole.footprints)),
        RETURNS: (whole.returns, returns_page(head, whole.returns)),
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
