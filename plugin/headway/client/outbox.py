"""Frames that wait to be sent: bounded, observations give way first, decisions never."""

from collections import deque
from enum import IntEnum

MAX_FRAMES = 10_000
MAX_BYTES = 16 << 20
CHUNK_BYTES = 1 << 16


class Weight(IntEnum):
    """What may be dropped when the outbox is full."""

    OBSERVATION = 0
    ENDING = 1  # frees a seat; dropped only when no observation is left to drop
    DECISION = 2  # never dropped; meaningless on another connection


class Outbox:
    """A queue of encoded frames. Not thread-safe: the caller holds the client's lock."""

    def __init__(self, *, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> None:
        self._frames: deque[tuple[bytes, Weight]] = deque()
        self._bytes = 0
        self._sent_of_head = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes, weight: Weight) -> None:
        """Append a frame; makes room by dropping the oldest frames of the least weight."""
        self._frames.append((frame, weight))
        self._bytes += len(frame)
        if len(self._frames) > self._max_frames or self._bytes > self._max_bytes:
            self._make_room()

    def put_first(self, frames: list[bytes]) -> None:
        """Put a new connection's greeting before all that waits."""
        self._frames.extendleft((frame, Weight.DECISION) for frame in reversed(frames))
        self._bytes += sum(map(len, frames))

    def chunk(self) -> bytes:
        """The next bytes to send: whole frames up to about 64 KiB."""
        if len(self._frames) == 1:
            return self._frames[0][0][self._sent_of_head :]
        parts, size = [], 0
        for frame, _ in self._frames:
            parts.append(frame)
            size += len(frame)
            if size >= CHUNK_BYTES:
                break
        return b"".join(parts)[self._sent_of_head :]

    def sent(self, count: int) -> None:
        """Note that `count` bytes of the last chunk went out."""
        count += self._sent_of_head
        frames = self._frames
        while frames and count >= len(frames[0][0]):
            frame, _ = frames.popleft()
            count -= len(frame)
            self._bytes -= len(frame)
        self._sent_of_head = count

    def disconnected(self) -> None:
        """Forget half-sent bytes and decisions, which fell open or are in the next greeting."""
        self._sent_of_head = 0
        self._keep([entry for entry in self._frames if entry[1] is not Weight.DECISION])

    def _make_room(self) -> None:
        # Down to three quarters, so that a full outbox costs little per frame.
        for weight in (Weight.OBSERVATION, Weight.ENDING):
            kept: list[tuple[bytes, Weight]] = []
            frames, size = len(self._frames), self._bytes
            for index, entry in enumerate(self._frames):
                roomy = frames <= self._max_frames * 3 // 4 and size <= self._max_bytes * 3 // 4
                half_sent = index == 0 and self._sent_of_head > 0
                if roomy or half_sent or entry[1] is not weight:
                    kept.append(entry)
                else:
                    frames -= 1
                    size -= len(entry[0])
            self._keep(kept)
            if len(self._frames) <= self._max_frames and self._bytes <= self._max_bytes:
                return

    def _keep(self, entries: list[tuple[bytes, Weight]]) -> None:
        self._frames = deque(entries)
        self._bytes = sum(len(frame) for frame, _ in entries)
