"""What an engine says of its load in an answer's headers (ORCA, as vLLM has it).

Asked for by a request header, told on whole answers only (streams have sent their headers
before there is anything to tell).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

HEADER = "endpoint-load-metrics"
WAITING = "num_requests_waiting"
MOST = 1_000_000
FORM = "JSON"


def waiting_told(headers: Mapping[str, Any]) -> int | None:
    """Requests in the engine's queue when it answered; None if the headers do not tell.

    Names are in lower case, or those of a mapping that does not care; LiteLLM puts its own
    prefix before an engine's.
    """
    said = headers.get(HEADER) or headers.get(f"llm_provider-{HEADER}")
    if not isinstance(said, str):
        return None
    form, _, told = said.strip().partition(" ")
    if form.upper() != FORM:
        return None
    try:
        content = msgspec.json.decode(told)
    except msgspec.DecodeError:
        return None
    metrics = content.get("named_metrics") if isinstance(content, dict) else None
    found = metrics.get(WAITING) if isinstance(metrics, dict) else None
    if isinstance(found, int | float) and 0 <= found <= MOST:
        return round(found)
    return None
