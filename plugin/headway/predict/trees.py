"""One tree: quantiles of some numbers, given a row of small codes. Pure and deterministic.

A randomised regression tree (Geurts, Ernst and Wehenkel, Machine Learning 2006) whose leaves keep
the values that they met, as some of their quantiles; what several trees kept is taken together
(Meinshausen, JMLR 2006). Rows are bytes; a set of rows is the bits of a Python integer, lowest
value first, so a split is judged by counting bits.
"""

from collections.abc import Sequence
from itertools import chain, compress
from random import Random
from typing import Any

from headway.predict.window import at_place

LEAVES = 40
LEAF_SHARE = 300
"""A leaf has no less than one of so many rows, and no less than"""
LEAST_LEAF = 4
TRIED_CUTS = 8
"""Of each feature, drawn once for a tree: where randomly chosen rows are."""
LEVELS = 3
"""Values between which a split should tell; with equal steps of their roots, so that it tells of
small and of large ones."""
TAKEN = 0.85
"""Share of the units that a tree looks at for its splits; its leaves hold all rows."""
KEPT = 10
"""Of a leaf's values: those in the middle of so many equal parts of them, for each number."""
_AT_MOST = [bytes(49 if code <= cut else 48 for code in range(256)) for cut in range(256)]
_BITS = bytes(code & 1 for code in range(256))

Tree = Any
"""A leaf ((`KEPT` values in order, for each number),), or (feature, cut, tree up to the cut, tree
above it)."""
Row = tuple[bytes, tuple[float, ...], int]
"""Codes below 256, the numbers, and a unit: rows of one unit tell of each other."""


def leaf_of(tree: Tree, row: bytes) -> tuple[tuple[float, ...], ...]:
    """For each number the values, in order, that rows such as this one had."""
    while len(tree) == 4:
        tree = tree[2] if row[tree[0]] <= tree[1] else tree[3]
    found: tuple[tuple[float, ...], ...] = tree[0]
    return found


def pooled(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    """P50 and P90 of what some trees say of a number, all of their values taken together."""
    together = sorted(chain.from_iterable(values))
    return at_place(together, 0.5 * len(together) - 0.5), at_place(
        together, 0.9 * len(together) - 0.5
    )


def grown(rows: Sequence[Row], features: Sequence[int], target: int, rng: Random) -> Tree:
    """A tree over `rows` that looks at `features` to tell the number at `target`."""
    return _Growing(rows, features, target, rng).tree()


def restored(saved: Sequence[Any]) -> Tree:
    """A tree from plain lists. Raises `TypeError` or `ValueError` if it is not one."""
    if len(saved) == 4:
        return (int(saved[0]), int(saved[1]), restored(saved[2]), restored(saved[3]))
    (leaf,) = saved
    return (tuple(tuple(float(value) for value in number) for number in leaf),)


class _Growing:
    """One tree in the making. Bit n - 1 - i of a set is the row with the i-th lowest value."""

    def __init__(
        self, rows: Sequence[Row], features: Sequence[int], target: int, rng: Random
    ) -> None:
        ordered = sorted(rows, key=lambda one: one[1][target])
        self._count = count = len(ordered)
        self._least = max(LEAST_LEAF, count // LEAF_SHARE)
        self._numbers = list(zip(*[one[1] for one in ordered], strict=True))
        flat, width = b"".join([one[0] for one in ordered]), len(ordered[0][0])
        self._cuts: list[tuple[int, int, int]] = []
        for feature in features:
            column = flat[feature::width]
            cuts = set(column)
            most = max(cuts)
            if len(cuts) > TRIED_CUTS:
                cuts = {column[int(rng.random() * count)] for _ in range(TRIED_CUTS)}
            cuts.discard(most)  # nothing is above it
            for cut in sorted(cuts):
                self._cuts.append((feature, cut, int(column.translate(_AT_MOST[cut]), 2)))
        units = {one[2] for one in ordered}
        kept = {unit for unit in sorted(units) if rng.random() < TAKEN}
        self._bag = int("".join(["1" if one[2] in kept else "0" for one in ordered]), 2)
        self._above = self._levels(self._numbers[target])

    def _levels(self, values: Sequence[float]) -> list[int]:
        """Sets of the rows above some values: what a split tells of them makes it good (CRPS)."""
        count = self._count
        low, high = values[count // 20] ** 0.5, values[count - 1 - count // 20] ** 0.5
        found = []
        for at in range(1, LEVELS + 1):
            limit = (low + (high - low) * at / (LEVELS + 1)) ** 2
            below = sum([value <= limit for value in values])
            if 0 < below < count:
                found.append((1 << (count - below)) - 1)
        return found

    def tree(self) -> Tree:
        """Grown best split first, until there are `LEAVES` leaves."""
        everyone = (1 << self._count) - 1
        bag = self._bag or everyone
        root: list[Any] = [everyone]
        first = self._split(bag)
        leaves, open_ = 1, [] if first is None else [(first, root, bag)]
        while open_ and leaves < LEAVES:
            best = max(range(len(open_)), key=lambda at: open_[at][0][0])
            (_, feature, cut, mask), place, looked = open_.pop(best)
            whole = place[0]
            low, high = [whole & mask], [whole & ~mask]
            place[:] = (feature, cut, low, high)
            leaves += 1
            for side, seen in ((low, looked & mask), (high, looked & ~mask)):
                if leaves < LEAVES and (found := self._split(seen)) is not None:
                    open_.append((found, side, seen))
        return self._closed(root)

    def _split(self, rows: int) -> tuple[float, int, int, int] | None:
        """The best split: (gain, feature, cut, rows up to it)."""
        count, least = rows.bit_count(), self._least
        most = count - least
        if most < least:
            return None
        over = [(part, part.bit_count() / count) for one in self._above if (part := rows & one)]
        best, found = 0.0, None
        for feature, cut, mask in self._cuts:
            below = (rows & mask).bit_count()
            if below < least or below > most:
                continue
            gain = 0.0
            for part, share in over:
                off = (part & mask).bit_count() - share * below
                gain += off * off
            gain /= below * (count - below)
            if gain > best:
                best, found = gain, (gain * count, feature, cut, mask)
        return found

    def _closed(self, node: list[Any]) -> Tree:
        if len(node) == 4:
            return (node[0], node[1], self._closed(node[2]), self._closed(node[3]))
        bits = format(node[0], f"0{self._count}b").encode().translate(_BITS)
        return (tuple([_kept(sorted(compress(numbers, bits))) for numbers in self._numbers]),)


def _kept(ordered: list[float]) -> tuple[float, ...]:
    """Quantiles of what will come, not of what was: of n + 1, the next one included."""
    many = len(ordered) + 1
    places = [max((part + 0.5) / KEPT * many - 1.0, 0.0) for part in range(KEPT)]
    return tuple([at_place(ordered, place) for place in places])
