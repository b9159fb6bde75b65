"""Names that every part shares: identifiers, units, small closed vocabularies.

Nothing here has behaviour. Identifiers are strings made by clients or by the
user's configuration; the core never makes one.
"""

from typing import Literal, NewType

Seconds = float
"""A duration, or an instant on the daemon's monotonic clock where a field is called ``at``."""

RunId = NewType("RunId", str)
NodeId = NewType("NodeId", str)
CallId = NewType("CallId", str)
EndpointId = NewType("EndpointId", str)
ClientId = NewType("ClientId", str)

Outcome = Literal["ok", "error", "cancelled", "interrupted"]
"""How a run, node or call ended. Only runs and nodes can be ``interrupted``."""

Mode = Literal["on", "shadow", "off"]
"""``on``: decisions are applied. ``shadow``: only made and journalled. ``off``: not made."""

Need = Literal["tools", "response_format", "vision", "audio", "logprobs", "n", "reasoning"]
"""A capability that a request asks of the model that answers it."""
