"""The client: what integrations call inside the user's process. It fails open, always.

`observe` never blocks and never raises. `decide` and `adecide` wait only while a
daemon that acknowledged the call holds it; in every other case the call goes on
without a decision (`headway.client.route` says where to).
"""

import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from headway.client.alone import Alone
from headway.client.clocks import Clocks
from headway.client.courier import Courier, process_name
from headway.client.held import Held, LoopHeld, ThreadHeld, ends
from headway.client.living import living
from headway.client.once import Once
from headway.client.outbox import Weight
from headway.client.paths import default_socket_path
from headway.client.poolview import PoolView
from headway.client.registry import Registry
from headway.client.route import OFF, SHADOW, Route, gone_to, granted_route, granted_spec
from headway.client.scheduling import TELLABLE, off_by_environment
from headway.client.sound import sound
from headway.client.told import FREQUENT, MAX_TOLD, NEVER, Told, frames, learn
from headway.client.watching import Watchers
from headway.core.errors import FrameError, UnknownEndpoint
from headway.core.facts import CallEnded, CallReady, CallSent
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import CallId, EndpointId, Seconds
from headway.wire import messages
from headway.wire.messages import (
    PROTOCOL_VERSION,
    Ack,
    DaemonMessage,
    Granted,
    Hello,
    Pong,
    Prompt,
    Welcome,
    encode_frame,
)

log = logging.getLogger("headway")

T = TypeVar("T")


class Client:
    """One per process (`get_client`). Thread-safe; works on any number of event loops."""

    def __init__(self, socket_path: Path | None = None, *, clocks: Clocks | None = None) -> None:
        self._path = socket_path or default_socket_path()
        self._clocks = clocks or Clocks()
        self._once = Once()
        self.watchers = Watchers(self._once)
        self._start()
        living.add(self)

    def _start(self) -> None:
        self._random = random.Random()
        self._registry = Registry()
        self._view = PoolView(self._path, retry_s=self._clocks.retry_s, once=self._once)
        self._held: dict[tuple[CallId, int], Held] = {}
        self._told = Told()
        turn = self._random.randrange(1 << 16)
        self._alone = Alone(self._path, registry=self._registry, once=self._once, turn=turn)
        self._courier = Courier(self._path, clocks=self._clocks, owner=self, once=self._once)

    # --- what integrations call ---

    @property
    def pool(self) -> Pool | None:
        """The last pool view: from the connection, else from the file beside the socket."""
        return self._looked("pool", lambda now: self._view.latest(now), None)

    def is_off(self) -> bool:
        """Whether calls pass untouched: ``HEADWAY_OFF`` is set, or the pool's mode is off."""
        return off_by_environment() or ((pool := self.pool) is not None and pool.mode == "off")

    def observe(self, fact: msgspec.Struct) -> None:
        """Tell any fact, or a `Passed`, `Covered` or `Prompt`. Never blocks, never raises."""
        kind = type(fact)
        if self.watchers and kind is not Prompt:  # for the daemon alone
            self.watchers.told(fact)
        try:
            if kind in FREQUENT:
                now = monotonic()
                told = self._told
                told.waiting.extend((fact, now))  # type: ignore[arg-type]
                if now >= told.attend_at or self._held or len(told.waiting) > 2 * MAX_TOLD:
                    self._attend(now)
                return
            if off_by_environment():
                return
            if kind not in TELLABLE:  # the daemon would end the connection over it
                raise TypeError(f"{kind.__name__} is nothing to observe")
            fact = sound(fact)
            courier = self._courier
            with courier.lock:
                now = monotonic()
                self.drain(now)
                self._registry.learn(fact, now)
                if courier.reach(now) or courier.seen:
                    weight = Weight.ENDING if kind is CallEnded else Weight.OBSERVATION
                    courier.put(encode_frame(fact), weight, now)
                if self._held:
                    self._release_ended(fact, now)
        except FrameError as error:
            self._once.warn(f"frame {kind.__name__}", f"not told: {error}")
        except Exception:  # noqa: BLE001 -- the host's boundary
            self._once.failure(f"observe {kind.__name__}")

    def decide(self, ask: CallReady) -> Route:
        """What to do with one attempt of a call; blocks while the daemon holds it.

        Never raises an error of its own; what interrupts the wait (``KeyboardInterrupt``)
        is told to the daemon as a cancelled call.
        """
        held: ThreadHeld | None = None
        try:
            if off_by_environment():
                return OFF
            held = ThreadHeld(ask)
            self.watchers.asked(ask)
            self._begin(held)
            while held.route is None:
                held.wait()
                if held.route is None:
                    self._at_deadline(held)
            self.watchers.routed(ask, held.route)
            return held.route
        except Exception:  # noqa: BLE001 -- the host's boundary
            return self._last_resort(held, "decide")
        except BaseException:
            self._abandon(held)
            raise

    async def adecide(self, ask: CallReady) -> Route:
        """The same on an event loop; a cancelled wait is told to the daemon and re-raised."""
        held: LoopHeld | None = None
        try:
            if off_by_environment():
                return OFF
            waiting = held = LoopHeld(ask)
            self.watchers.asked(ask)
            self._begin(held)
            route = held.route or await held.wait(lambda: self._at_deadline_quietly(waiting))
            self.watchers.routed(ask, route)
            return route
        except Exception:  # noqa: BLE001 -- the host's boundary
            return self._last_resort(held, "adecide")
        except BaseException:
            self._abandon(held)
            raise

    def endpoint_for(self, base_url: str) -> EndpointSpec | None:
        """The pool's endpoint with this base URL (slash, case of host, default port aside)."""
        return self._looked("endpoint_for", lambda now: self._view.at_url(base_url, now), None)

    def gateway_for(self, base_url: str) -> str:
        """``litellm`` or ``headway`` if the pool names this URL as a gateway of that kind."""
        return self._looked("gateway_for", lambda now: self._view.gateway_at(base_url, now), "")

    def sent(self, ask: CallReady, endpoint: EndpointId) -> None:
        """The host chose an endpoint by itself, after a route without one, and sends now."""
        if not off_by_environment():
            self.watchers.told(CallSent(ask=ask, endpoint=endpoint))
            self._looked("sent", lambda now: self._sent_by_host(ask, endpoint, now), None)

    def _sent_by_host(self, ask: CallReady, endpoint: EndpointId, now: Seconds) -> None:
        spec = gone_to(self._view.latest(now), ask, endpoint)
        if spec is not None:
            self._sent_alone(sound(ask), spec, now)

    def close(self) -> None:
        """Send what waits and end the connection; held calls fall open. Idempotent."""
        try:
            self._courier.close()
            with self._courier.lock:
                for held in list(self._held.values()):
                    self._fall_open(held, "the client was closed", monotonic())
        except Exception:  # noqa: BLE001 -- the host's boundary
            self._once.failure("close")

    def _looked(self, where: str, look: Callable[[Seconds], T], otherwise: T) -> T:
        try:
            with self._courier.lock:
                return look(monotonic())
        except Exception:  # noqa: BLE001 -- the host's boundary
            self._once.failure(where)
            return otherwise

    def _attend(self, now: Seconds) -> None:
        """Have what waits taken in: by the courier's thread on its tick, else here."""
        courier, told = self._courier, self._told
        with courier.lock:
            if self._held or len(told.waiting) > 2 * MAX_TOLD or not courier.will_drain(now):
                self.drain(now)
            told.attend_at = NEVER if courier.will_drain(now) else now + self._clocks.retry_s

    # --- asking and waiting ---

    def _begin(self, held: Held) -> None:
        """Ask the daemon, or settle the route at once."""
        with self._courier.lock:
            now = held.asked_at = monotonic()
            courier, ask = self._courier, held.ask
            self.drain(now)
            reached = courier.can_ask(now)
            pool = self._view.latest(now)
            if pool is not None and pool.mode == "off":
                held.route = OFF
                return
            if not reached:
                self._fall_open(held, "no daemon to ask", now)
                return
            if held.key in self._held:
                self._fall_open(held, "this attempt is being decided already", now)
                return
            try:
                ask = held.ask = sound(ask)
                frame = encode_frame(ask)
            except (FrameError, ValueError, TypeError, OverflowError) as error:
                self._once.warn("frame CallReady", f"a call cannot be asked for: {error}")
                self._settle(held, Route(endpoint=None, source="none", why=str(error)))
                return
            held.asked = True
            if pool is not None and pool.mode == "shadow":
                held.route = SHADOW
            else:
                held.deadline = now + self._clocks.ack_idle_s
                self._held[held.key] = held
            courier.put(frame, Weight.DECISION, now)
            if held.route is None and not courier.connected:
                self._fall_open(held, "the connection to the daemon is lost", now)

    def _at_deadline(self, held: Held) -> None:
        """A clock of `held` has run out: read what lies unread, then believe the clock."""
        with self._courier.lock:
            courier = self._courier
            courier.read(monotonic())
            now = monotonic()
            if held.route is not None or now < held.deadline:
                return
            if held.extends(heard_at=courier.last_frame_at, until_s=self._clocks.ack_busy_s):
                return
            if not held.lost and not held.acked:
                courier.missed()
            self._fall_open(held, held.why_given_up(), now)

    def _at_deadline_quietly(self, held: Held) -> None:
        try:
            self._at_deadline(held)
        except Exception:  # noqa: BLE001 -- the host's boundary
            self._last_resort(held, "adecide")

    def _fall_open(self, held: Held, why: str, now: Seconds) -> None:
        """Route without the daemon, and tell it (on this connection or the next)."""
        pool, was_there = self._view.latest(now), self._courier.seen or self._courier.connected
        held_s = now - held.asked_at
        route = self._alone.route(held.ask, pool, was_there=was_there, why=why, held_s=held_s)
        if route.endpoint is not None:
            self._sent_alone(held.ask, route.endpoint, now)
        self._settle(held, route)

    def _sent_alone(self, ask: CallReady, spec: EndpointSpec, now: Seconds) -> None:
        self._registry.sent(ask, spec, now)
        if self._courier.connected:  # else the next connection's greeting tells it
            frame = encode_frame(CallSent(ask=ask, endpoint=spec.id))
            self._courier.put(frame, Weight.DECISION, now)

    def _settle(self, held: Held, route: Route) -> None:
        if self._held.get(held.key) is held:
            del self._held[held.key]
        held.resolve(route)

    def _release_ended(self, fact: msgspec.Struct, now: Seconds) -> None:
        """Let those go whose call, node or run has ended: the daemon grants them no more."""
        for held in list(self._held.values()):
            if ends(fact, held.ask):
                self._fall_open(held, "its node has ended", now)

    def _abandon(self, held: Held | None) -> None:
        """The caller no longer wants its route: free what the daemon keeps for it."""
        if held is None:
            return
        try:
            with self._courier.lock:
                if self._held.get(held.key) is held:
                    del self._held[held.key]
            # Without the lock: a watcher may take its time.
            call, attempt, run = held.ask.call, held.ask.attempt, held.ask.run
            if held.asked or held.route is not None:
                self.observe(CallEnded(call=call, attempt=attempt, run=run, outcome="cancelled"))
        except Exception:  # noqa: BLE001 -- the host's boundary
            self._once.failure("cancelling")

    def _last_resort(self, held: Held | None, where: str) -> Route:
        self._once.failure(where)
        route = Route(endpoint=None, source="none", why=f"headway failed in {where}")
        if held is not None:
            self._abandon(held)
            held.resolve(route)
        return route

    # --- what the courier calls, under its lock ---

    def greeting(self, now: Seconds) -> list[bytes]:
        """`Hello`, then everything open with fresh ages."""
        hello = Hello(version=PROTOCOL_VERSION, client=process_name(), pid=os.getpid())
        self.drain(now)
        return [encode_frame(hello), *frames(self._registry.retell(now), self._once)]

    def drain(self, now: Seconds) -> bool:
        """Take in the frequent facts told so far, before anything that is told after them."""
        batch = self._told.take()
        if batch and not off_by_environment():
            courier, facts = self._courier, learn(batch, self._registry, self._once)
            if facts and (courier.reach(now) or courier.seen):
                courier.put(b"".join(frames(facts, self._once)), Weight.OBSERVATION, now)
            if self._held:
                for fact in facts:
                    self._release_ended(fact, now)
        return bool(batch)

    def on_message(self, message: DaemonMessage, now: Seconds) -> None:
        """Acknowledgements and grants to those who wait; pool views and modes to all."""
        if isinstance(message, Ack):
            self._courier.acknowledged()
            held = self._held.get((message.call, message.attempt))
            if held is not None and not held.lost:
                held.acked = True
                held.deadline = held.hold_until(self._clocks.hold_grace_s)
        elif isinstance(message, Granted):
            held = self._held.get((message.call, message.attempt))
            if held is not None:  # else it fell open or was cancelled, and the daemon knows
                self._granted(held, message, now)
        elif isinstance(message, Welcome | messages.PoolView):
            self._pool_told(message.pool, now)
        elif isinstance(message, Pong):
            pool = self._view.latest(now)
            if pool is not None and pool.mode != message.mode:
                self._pool_told(msgspec.structs.replace(pool, mode=message.mode), now)

    def on_lost(self, why: str, now: Seconds) -> None:
        """Give each held call its own moment to fall open; a new connection does not re-ask."""
        log.debug("the connection to the daemon ended: %s", why)
        for held in list(self._held.values()):
            if not held.lost:
                held.lost = True
                held.deadline = now + self._random.uniform(0.0, self._clocks.spread_s)
                self._courier.later(held, held.deadline)

    def on_due(self, held: Held, now: Seconds) -> None:
        """The staggered moment of a lost call."""
        if held.route is None and self._held.get(held.key) is held:
            self._fall_open(held, "the connection to the daemon is lost", now)

    def is_waiting(self) -> bool:
        """Whether calls are held."""
        return bool(self._held)

    def _granted(self, held: Held, granted: Granted, now: Seconds) -> None:
        self._courier.acknowledged()
        pool = self._view.latest(now)
        if not granted.apply:
            self._settle(held, msgspec.structs.replace(SHADOW, why=granted.why or SHADOW.why))
            return
        try:
            spec = granted_spec(pool, held.ask, granted.endpoint)
        except UnknownEndpoint as error:
            self._fall_open(held, str(error), now)
            return
        if spec is not None:
            sent = self._registry.sent if granted.endpoint else self._sent_alone
            sent(held.ask, spec, now)
        self._settle(held, granted_route(granted, spec))

    def _pool_told(self, pool: Pool, now: Seconds) -> None:
        self._view.told(pool)
        if pool.mode != "on":
            for held in list(self._held.values()):
                self._settle(held, OFF if pool.mode == "off" else SHADOW)

    def reset_after_fork(self) -> None:
        """In a forked child: begin anew, without the parent's socket, thread, locks or runs."""
        self._courier.abandon_after_fork()
        self._start()
