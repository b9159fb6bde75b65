"""The tree of prefixes that a KV cache still knows, in runs of blocks instead of single blocks.

A block's id names the whole text up to its end, so equal ids have equal
blocks before them, and what is cached is a tree: its nodes are runs of blocks
that are held by the same sequences. Matching, holding and releasing a prompt
of 1,600 blocks therefore costs as much as it has branches, not blocks (as in
SGLang's radix cache, Zheng et al., arXiv 2312.07104, section 3).

A node that nobody holds is idle: it stays known until room is needed, least
recently released first, and of one prefix the tail goes before the head.
"""

from collections import OrderedDict
from collections.abc import Sequence as Ordered
from typing import NamedTuple


class Node:
    """A run of blocks behind its parent's, held by `holders` sequences."""

    __slots__ = ("blocks", "children", "holders", "parent")

    def __init__(self, *, blocks: list[int], parent: "Node | None", holders: int) -> None:
        self.blocks = blocks
        self.parent = parent
        self.holders = holders
        self.children: dict[int, Node] = {}


class Match(NamedTuple):
    """The longest known head of a prefix: `blocks` of it, ending `within` blocks inside `node`.

    `idle` of the blocks are held by nobody.
    """

    node: Node
    within: int
    blocks: int
    idle: int


class Prefixes:
    """The known prefixes. `idle` counts the blocks that nobody holds."""

    def __init__(self) -> None:
        self.root = Node(blocks=[], parent=None, holders=0)
        self.idle = 0
        self._idle: OrderedDict[Node, None] = OrderedDict()

    def match(self, prefix: tuple[int, ...], most: int) -> Match:
        """How many of the first `most` blocks of `prefix` are known."""
        node, within, matched, idle = self.root, 0, 0, 0
        while matched < most:
            child = node.children.get(prefix[matched])
            if child is None:
                break
            within = min(len(child.blocks), most - matched)
            # Ids name all text before them: where two runs part, they stay apart.
            if child.blocks[within - 1] != prefix[matched + within - 1]:
                within = _common(child.blocks, prefix, matched, within)
            matched += within
            if not child.holders:
                idle += within
            node = child
            if within < len(child.blocks):
                break
        return Match(node, within, matched, idle)

    def hold(self, match: Match) -> Node:
        """One more sequence holds what was matched; the node that ends it."""
        end = node = match.node
        if node.parent is not None and match.within < len(node.blocks):
            end = node = self._split(node, match.within)
        while node.parent is not None:
            if not node.holders:
                self._idle.pop(node, None)
                self.idle -= len(node.blocks)
            node.holders += 1
            node = node.parent
        return end

    def extend(self, node: Node, blocks: Ordered[int]) -> Node | None:
        """The sequence whose prefix ends with `node` adds blocks; the node that ends it then.

        None if the first of them is known already: it was computed twice at
        the same time, and the copy stays its owner's alone.
        """
        if blocks[0] in node.children:
            return None
        if node.holders == 1 and not node.children:
            node.blocks.extend(blocks)
            return node
        child = Node(blocks=list(blocks), parent=node, holders=1)
        node.children[blocks[0]] = child
        return child

    def release(self, node: Node) -> int:
        """One sequence lets go of the prefix that ends with `node`; how many blocks went idle."""
        before = self.idle
        while node.parent is not None:
            node.holders -= 1
            if not node.holders:
                self._idle[node] = None
                self.idle += len(node.blocks)
            node = node.parent
        return self.idle - before

    def forget(self, count: int) -> None:
        """Drop `count` idle blocks, least recently released first."""
        self.idle -= count
        while count:
            node = next(iter(self._idle))
            if len(node.blocks) > count:
                del node.blocks[-count:]
                return
            count -= len(node.blocks)
            del self._idle[node]
            if node.parent is not None:
                del node.parent.children[node.blocks[0]]

    def _split(self, node: Node, length: int) -> Node:
        """Part a node after `length` blocks; the new head. The tail keeps holders and idle place.

        A new head of an idle node has no idle place of its own: it is about to be held.
        """
        head = Node(blocks=node.blocks[:length], parent=node.parent, holders=node.holders)
        del node.blocks[:length]
        node.parent = head
        head.children[node.blocks[0]] = node
        if head.parent is not None:
            head.parent.children[head.blocks[0]] = head
        return head


def _common(blocks: list[int], prefix: tuple[int, ...], start: int, length: int) -> int:
    """Length of the common head of `blocks` and ``prefix[start:]``: at least 1, below `length`."""
    low, high = 1, length - 1
    while low < high:
        middle = (low + high + 1) // 2
        if blocks[middle - 1] == prefix[start + middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low
