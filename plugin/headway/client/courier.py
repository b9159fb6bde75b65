"""Carries frames between callers and the daemon: the thread, the link, the breaker, the lock.

One thread per process, started by the first connection, reads answers, flushes
observations that waited for company, probes, and releases calls at staggered
moments. Callers send from their own thread, because a thread switch costs more
than the send; and they read there when a clock runs out, so that an answer
which only this process was too busy to read never counts as missing.
"""

import heapq
import os
import selectors
import socket
import threading
from pathlib import Path
from time import monotonic
from typing import Protocol

from headway.client.breaker import Breaker
from headway.client.clocks import Clocks
from headway.client.held import Held
from headway.client.link import Link, open_link
from headway.client.once import Once
from headway.client.outbox import Outbox, Weight
from headway.core.errors import FrameError
from headway.core.types import Seconds
from headway.wire.messages import (
    PROTOCOL_VERSION,
    DaemonMessage,
    Ping,
    Pong,
    Refused,
    Welcome,
    encode_frame,
)

_PING = encode_frame(Ping())
_NEVER = float("-inf")


class Owner(Protocol):
    """Whom the courier works for. All of it is called under the courier's lock."""

    def greeting(self, now: Seconds) -> list[bytes]:
        """The first frames of a new connection."""

    def drain(self, now: Seconds) -> bool:
        """Put what was told without the lock; whether there was anything."""

    def on_message(self, message: DaemonMessage, now: Seconds) -> None:
        """The daemon said something."""

    def on_lost(self, why: str, now: Seconds) -> None:
        """The connection ended."""

    def on_due(self, held: Held, now: Seconds) -> None:
        """The moment given to `Courier.later` has come."""

    def is_waiting(self) -> bool:
        """Whether calls are held, so that a silent daemon must be noticed."""


class Courier:
    """All methods but `close` are called with `lock` held; none of them blocks."""

    def __init__(self, path: Path, *, clocks: Clocks, owner: Owner, once: Once) -> None:
        self.lock = threading.RLock()
        self.seen = False
        self.last_frame_at: Seconds = _NEVER
        self._path = path
        self._clocks = clocks
        self._owner = owner
        self._once = once
        self._link: Link | None = None
        self._outbox = Outbox()
        self._breaker = Breaker(clocks.failures)
        self._tried_at: Seconds = _NEVER
        self._pinged_at: Seconds = _NEVER
        self._ping_open = False
        self._flush_at: Seconds | None = None
        self._flushing = False
        self._blocked = False
        self._later: list[tuple[Seconds, int, Held]] = []
        self._order = 0
        self._thread: threading.Thread | None = None
        self._selector: selectors.BaseSelector | None = None
        self._watched: Link | None = None
        self._wakers: tuple[socket.socket, socket.socket] | None = None
        self._dozing = False
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection, for all we know."""
        return self._link is not None

    def can_ask(self, now: Seconds) -> bool:
        """Whether a decision can be asked for; connects if it is time to try."""
        if self._breaker.is_open or self._closed:
            return False
        return self.reach(now)

    def reach(self, now: Seconds) -> bool:
        """Whether there is a connection; tries for one at most once in `retry_s`."""
        if self._link is not None:
            return True
        if self._closed or now - self._tried_at < self._clocks.retry_s:
            return False
        # With an open breaker only the thread probes; without a thread nobody else does.
        if self._breaker.is_open and self._thread is not None:
            return False
        return self._connect(now)

    def put(self, frame: bytes, weight: Weight, now: Seconds) -> None:
        """Send `frame` soon; at once if it is more than an observation."""
        self._outbox.put(frame, weight)
        if self._link is None or self._blocked:  # the thread sends when there is room again
            return
        if weight is not Weight.OBSERVATION:
            self.flush(now)
        elif self._flush_at is None:
            self._flush_at = now + self._clocks.flush_s
            self._wake()

    def will_drain(self, now: Seconds) -> bool:
        """Whether the thread drains the owner within `flush_s`: then nobody else need."""
        if self._link is None or self._blocked:
            return False
        if self._flush_at is None:
            self._flush_at = now + self._clocks.flush_s
            self._wake()
        return True

    def later(self, held: Held, at: Seconds) -> None:
        """Have `on_due(held)` called at `at`."""
        self._order += 1
        heapq.heappush(self._later, (at, self._order, held))
        self._wake()

    def missed(self) -> None:
        """An ask was not acknowledged in time."""
        self._breaker.failed()
        self._wake()

    def acknowledged(self) -> None:
        """An ask was acknowledged."""
        self._breaker.acknowledged()

    def read(self, now: Seconds) -> None:
        """Take in whatever has arrived."""
        link = self._link
        if link is None:
            return
        messages, error = link.receive()
        for message in messages:
            if self._link is link:
                self.last_frame_at = now
                self._take(message, link, now)
        if error is None or self._link is not link:
            return
        if isinstance(error, FrameError):
            if link.welcomed:  # else `drop` counts it
                self._breaker.failed()
            self.drop(f"the daemon speaks nonsense: {error}", now)
        else:
            self.drop(str(error), now)

    def flush(self, now: Seconds) -> None:
        """Send what waits, as far as the kernel has room."""
        if self._flushing:  # a signal handler came in between; the outer call goes on
            return
        self._flushing = True
        try:
            while self._link is not None and len(self._outbox):
                data = self._outbox.chunk()
                count = self._link.send(data)
                self._outbox.sent(count)
                self._blocked = count < len(data)
                if self._blocked:
                    self._flush_at = None  # the thread waits for room, not for a moment
                    self._wake()
                    break
        except OSError as error:
            self.read(now)  # grants that came before the end still count
            self.drop(str(error), now)
        finally:
            self._flushing = False

    def drop(self, why: str, now: Seconds) -> None:
        """Give the connection up: held calls fall open, observations wait for the next one."""
        link, self._link = self._link, None
        if link is None:
            return
        if not link.welcomed:
            self._breaker.failed()
        link.close()
        self._ping_open = self._blocked = False
        self._flush_at = now  # what was told while there was no room must not lie any longer
        self._outbox.disconnected()
        self._owner.on_lost(why, now)
        self._wake()

    def close(self) -> None:
        """Send what waits, end the connection and the thread. Idempotent."""
        with self.lock:
            if self._closed:
                return
            now = monotonic()
            self._owner.drain(now)
            self.flush(now)
            self._closed = True
            self.drop("the client was closed", now)
            thread = self._thread
            self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)

    def abandon_after_fork(self) -> None:
        """Close a forked child's copies of the parent's descriptors, and nothing else."""
        for resource in (self._link, self._selector, *(self._wakers or ())):
            if resource is not None:
                resource.close()

    def _connect(self, now: Seconds) -> bool:
        self._tried_at = now
        try:
            link = open_link(self._path)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            return False  # no daemon, a stale socket, or one too busy to accept
        except OSError as error:
            self._once.warn("connect", f"cannot use the socket {self._path}: {error}")
            return False
        self._outbox.put_first(self._owner.greeting(now))
        self._link = link
        if self._breaker.is_open:
            self._outbox.put(_PING, Weight.DECISION)
        self._start_thread()
        self.flush(now)
        self._wake()
        return self._link is not None

    def _take(self, message: DaemonMessage, link: Link, now: Seconds) -> None:
        if isinstance(message, Refused):
            self._refused(message.error, now)
            return
        if isinstance(message, Welcome):
            if message.version != PROTOCOL_VERSION:
                self._refused(
                    f"it speaks protocol {message.version}, this client {PROTOCOL_VERSION}: "
                    "use the same version of headway for both",
                    now,
                )
                return
            link.welcomed = self.seen = True
            self._breaker.answered()
        elif isinstance(message, Pong):
            self._ping_open = False
            self._breaker.answered()
        self._owner.on_message(message, now)

    def _refused(self, why: str, now: Seconds) -> None:
        self._once.warn(f"refused {why}", f"the daemon on {self._path} refuses us: {why}")
        self._breaker.refused()
        self.drop(why, now)

    # --- the thread ---

    def _start_thread(self) -> None:
        if self._thread is not None:
            return
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._wakers = (reader, writer)
        self._selector = selectors.DefaultSelector()
        self._selector.register(reader, selectors.EVENT_READ)
        thread = threading.Thread(target=self._run, name="headway-client", daemon=True)
        self._thread = thread
        thread.start()

    def _wake(self) -> None:
        if self._dozing and self._wakers is not None:
            self._dozing = False
            try:
                self._wakers[1].send(b"\0")
            except BlockingIOError:
                return  # its buffer is full of wake-ups already

    def _run(self) -> None:
        try:
            while self._turn():
                continue
        except Exception:  # noqa: BLE001 -- the host's boundary
            self._once.failure("its thread")
            with self.lock:
                self._closed = True
                self.drop("the client's thread failed", monotonic())
                self._release_all()

    def _turn(self) -> bool:
        selector, wakers = self._selector, self._wakers
        if selector is None or wakers is None:
            return False
        with self.lock:
            if self._closed:
                self._release_all()
                selector.close()
                for waker in wakers:
                    waker.close()
                self._wakers = self._selector = None
                return False
            self._watch(selector)
            due = self._next_due()
            timeout = None if due is None else max(0.0, due - monotonic())
            self._dozing = True
        ready = selector.select(timeout)
        with self.lock:
            self._dozing = False
            now = monotonic()
            for key, _ in ready:
                if key.fileobj is wakers[0]:
                    wakers[0].recv(4096)
                elif key.fileobj is self._link:
                    self.read(now)
            self._work(now)
        return True

    def _watch(self, selector: selectors.BaseSelector) -> None:
        link = self._link
        if self._watched is not None and self._watched is not link:
            selector.unregister(self._watched)
            self._watched = None
        if link is None:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._blocked else 0)
        if self._watched is None:
            selector.register(link, events)
        else:
            selector.modify(link, events)
        self._watched = link

    def _next_due(self) -> Seconds | None:
        moments = [at for at in (self._flush_at, self._probe_due()) if at is not None]
        if self._later:
            moments.append(self._later[0][0])
        return min(moments, default=None)

    def _probe_due(self) -> Seconds | None:
        clocks = self._clocks
        if self._link is None:
            wanted = self.seen or self._breaker.is_open
            return self._tried_at + clocks.retry_s if wanted else None
        if self._ping_open:
            return self._pinged_at + clocks.pong_s
        if self._breaker.is_open or self._owner.is_waiting():
            return max(self._pinged_at, self.last_frame_at, self._tried_at) + clocks.retry_s
        return None

    def _work(self, now: Seconds) -> None:
        if self._closed:  # while this thread waited for the lock: nothing may connect again
            return
        if self._blocked:
            self.flush(now)
            if not self._blocked:
                self._flush_at = now
        elif self._flush_at is not None and now >= self._flush_at:
            # Stay on the tick while observations keep coming: that spares a wake-up for each.
            more = self._owner.drain(now) or len(self._outbox)
            self._flush_at = now + self._clocks.flush_s if more else None
            self.flush(now)
        while self._later and self._later[0][0] <= now:
            self._owner.on_due(heapq.heappop(self._later)[2], now)
        probe = self._probe_due()
        if probe is not None and now >= probe:
            self._probe(now)

    def _probe(self, now: Seconds) -> None:
        if self._link is None:
            self._connect(now)
        elif self._ping_open and self.last_frame_at < self._pinged_at:
            self.drop("the daemon has gone silent", now)
        else:
            self._ping_open = True
            self._pinged_at = now
            self.put(_PING, Weight.DECISION, now)

    def _release_all(self) -> None:
        now = monotonic()
        while self._later:
            self._owner.on_due(heapq.heappop(self._later)[2], now)


def process_name() -> str:
    """How this client calls itself to the daemon."""
    return f"{socket.gethostname()}:{os.getpid()}"
