"""`RollingForest`: quantiles of some numbers given a row of small codes, learned as rows come.

Trees (`trees`) over the most recent rows. One is grown anew every few rows and takes the place of
the oldest of its kind: learning never takes long at once, and what was so long ago leaves with its
trees. Pure Python and deterministic: what is drawn depends on how many trees were grown, nothing
else.
"""

from collections import deque
from collections.abc import Collection, Sequence
from random import Random
from typing import Any

from headway.predict.trees import Row, Tree, grown, leaf_of, pooled, restored

ROWS = 2_000
"""Rows kept: some 150 bytes each."""
TREES = 12
"""Of each kind."""
LEAST_ROWS = 100
"""Rows before there is a tree."""
DENSE = 36
"""Trees that are grown while rows grow e-fold, up to"""
DENSE_UNTIL = 1_000
"""rows; from then on ever fewer, but"""
GROWN_WITHIN = 512
"""one after so many rows at the latest."""
UNBELIEVED = 3
"""Kinds that nobody believes are from then on grown so many times as rarely."""
FRESH = 0.75
"""Trees of less than this share of the rows that there are now leave early."""


class RollingForest:
    """P50 and P90 of each of `targets` numbers from a row of codes below 256.

    `kinds` are sets of features (places in the row): each kind has trees of its own.
    """

    def __init__(self, kinds: Sequence[Sequence[int]], targets: int) -> None:
        self._kinds = [tuple(kind) for kind in kinds]
        self._targets = targets
        self._rows: deque[Row] = deque(maxlen=ROWS)
        self._trees: list[deque[tuple[int, Tree]]] = [deque(maxlen=TREES) for _ in kinds]
        self._new = [0] * len(self._kinds)
        self._learned = self._grown = 0

    def ready(self) -> bool:
        """Whether every kind has a tree."""
        return all(self._trees)

    def predict(self, kind: int, row: bytes) -> list[tuple[float, float]]:
        """P50 and P90 of each number, by the trees of a kind that is ready."""
        leaves = [leaf_of(tree, row) for _, tree in self._trees[kind]]
        return [pooled(values) for values in zip(*leaves, strict=True)]

    def learn(
        self, row: bytes, numbers: tuple[float, ...], unit: int, believed: Collection[int]
    ) -> None:
        """A row and what the numbers really were; `believed` kinds are grown more often."""
        self._rows.append((row, numbers, unit))
        self._learned += 1
        learned = self._learned
        due = max(learned / DENSE, 4.0)
        if learned > DENSE_UNTIL:
            due = min(due * learned / DENSE_UNTIL, GROWN_WITHIN)
        for kind in range(len(self._kinds)):
            self._new[kind] += 1
            rare = learned > DENSE_UNTIL and kind not in believed
            within = due * UNBELIEVED if rare else due
            if self._new[kind] >= within and len(self._rows) >= LEAST_ROWS:
                self._grow(kind)

    def _grow(self, kind: int) -> None:
        self._new[kind] = 0
        self._grown += 1
        rows, trees = self._rows, self._trees[kind]
        target = self._grown % self._targets
        trees.append((len(rows), grown(rows, self._kinds[kind], target, Random(self._grown))))
        while trees[0][0] < FRESH * len(rows):
            trees.popleft()

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "rows": [[row, list(numbers), unit] for row, numbers, unit in self._rows],
            "trees": [[[rows, tree] for rows, tree in trees] for trees in self._trees],
            "counts": [self._learned, self._grown, *self._new],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError`, `TypeError` or `ValueError` if it is not one."""
        self._rows.clear()
        for row, numbers, unit in snapshot["rows"]:
            self._rows.append((bytes(row), tuple(float(one) for one in numbers), int(unit)))
        for trees, saved in zip(self._trees, snapshot["trees"], strict=True):
            trees.clear()
            trees.extend((int(rows), restored(tree)) for rows, tree in saved)
        self._learned, self._grown, *self._new = (int(one) for one in snapshot["counts"])
