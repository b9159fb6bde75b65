"""What looks at endpoints change: up and down, restarts, and what servers say of themselves."""

from collections.abc import Callable

from headway.core.books import Books
from headway.core.commands import Notice
from headway.core.endpoints import Endpoint
from headway.core.facts import EndpointSeen
from headway.core.types import Seconds

OUTAGE_GRACE_S = 15.0
"""How long a call waits for an endpoint to come back before it is sent to one that is down."""
NOTICES_KEPT = 1_000


class Notices:
    """What people should know, each kind once for each subject until it is `over`."""

    def __init__(self, tell: Callable[[Notice], None]) -> None:
        self._tell = tell
        self._said: dict[tuple[str, str], None] = {}

    def say(self, kind: str, subject: str, message: str) -> None:
        """Say it, unless it was said."""
        if len(self._said) >= NOTICES_KEPT:
            self._said.clear()
        if (kind, subject) not in self._said:
            self._said[(kind, subject)] = None
            self._tell(Notice(kind=kind, subject=subject, message=message))

    def over(self, kind: str, subject: str) -> None:
        """When it comes again it is news."""
        self._said.pop((kind, subject), None)


class Lookout:
    """Applies `EndpointSeen` to an endpoint and the books."""

    def __init__(self, books: Books, notices: Notices) -> None:
        self._books = books
        self._notices = notices

    def seen(self, endpoint: Endpoint, fact: EndpointSeen, at: Seconds) -> bool:
        """Take it in; whether the endpoint takes longer or shorter calls than was known."""
        limit = endpoint.context_tokens_limit
        was_reachable = endpoint.reachable
        endpoint.seen(fact, at)
        if was_reachable and not endpoint.reachable:
            self._down(endpoint, fact, at)
        elif not was_reachable and endpoint.reachable:
            self._notices.over("endpoint_down", endpoint.id)
            self._notices.say("endpoint_up", endpoint.id, f"{endpoint.id} is back")
        if fact.restarted:
            self._restarted(endpoint)
        for run_id in fact.lost_prefixes:
            run = self._books.run(run_id)
            if run is not None and run.last_endpoint == endpoint.id:
                run.last_endpoint = ""
        if fact.heeds_urgency is False:
            told = f"{endpoint.id} heeds no urgency: start it with --scheduling-policy priority"
            self._notices.say("urgency_ignored", endpoint.id, told)
        elif fact.heeds_urgency:
            self._notices.over("urgency_ignored", endpoint.id)
        return endpoint.context_tokens_limit != limit

    def _down(self, endpoint: Endpoint, fact: EndpointSeen, at: Seconds) -> None:
        self._notices.over("endpoint_up", endpoint.id)
        told = f"{endpoint.id} is down: {fact.error}"
        self._notices.say("endpoint_down", endpoint.id, told)
        for call in self._books.waiting.values():
            if endpoint.id in call.candidates:
                self._books.wake(at + OUTAGE_GRACE_S, "outage", call.key)

    def _restarted(self, endpoint: Endpoint) -> None:
        """No run's prefix is there any more."""
        kind = "endpoint_restarted"
        self._notices.say(kind, endpoint.id, f"{endpoint.id} was started anew: its cache is cold")
        self._notices.over(kind, endpoint.id)
        for run in self._books.runs.values():
            if run.last_endpoint == endpoint.id:
                run.last_endpoint = ""
