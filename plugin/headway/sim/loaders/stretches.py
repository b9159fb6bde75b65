"""Block lists as (first id, count) stretches: cutting and joining them without unrolling."""

from collections.abc import Iterable

Stretches = tuple[tuple[int, int], ...]


def head(stretches: Stretches, blocks: int) -> Stretches:
    """The first `blocks` blocks, or all if there are fewer."""
    taken: list[tuple[int, int]] = []
    for first, count in stretches:
        if blocks <= 0:
            break
        taken.append((first, min(count, blocks)))
        blocks -= count
    return tuple(taken)


def joined(*lists: Iterable[tuple[int, int]]) -> Stretches:
    """One list after the other, with stretches that continue each other made one."""
    made: list[tuple[int, int]] = []
    for stretches in lists:
        for first, count in stretches:
            if count <= 0:
                continue
            if made and made[-1][0] + made[-1][1] == first:
                made[-1] = (made[-1][0], made[-1][1] + count)
            else:
                made.append((first, count))
    return tuple(made)


def size(stretches: Stretches) -> int:
    """How many blocks they are."""
    return sum(count for _, count in stretches)


def growing(first: int, tokens: int, block_tokens: int) -> Stretches:
    """The whole blocks of a text that begins with block `first` and only ever grows at its end.

    Two prompts of one such text share all blocks that both fill.
    """
    blocks = tokens // block_tokens
    return ((first, blocks),) if blocks else ()


def shared(one: Stretches, other: Stretches) -> int:
    """How many blocks two lists have in common from their beginning."""
    total, a, b = 0, 0, 0
    left = right = (0, 0)
    while True:
        if not left[1]:
            if a == len(one):
                return total
            left, a = one[a], a + 1
        if not right[1]:
            if b == len(other):
                return total
            right, b = other[b], b + 1
        if left[0] != right[0]:
            return total
        count = min(left[1], right[1])
        total += count
        left = (left[0] + count, left[1] - count)
        right = (right[0] + count, right[1] - count)
