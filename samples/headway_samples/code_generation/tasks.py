"""Small function tasks, made from twelve families with three parameters each.

A family holds a description, a right solution, the arguments its unit tests
use, and mutations, each of which turns the right solution into a wrong one.
Everything else is generated: the expected values come from running the right
solution, so a task, its tests and its answers cannot disagree. ``$k`` stands
for the parameter. The difficulty (0 easy, 1 hard) is known to the emulated
models only; no prompt shows it.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A template of tasks: `mutations` are (old, new) replacements in `solution`."""

    function: str
    says: str
    solution: str
    cases: tuple[str, ...]
    mutations: tuple[tuple[str, str], ...]
    parameters: tuple[int, int, int]
    difficulty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task: what to write, its unit tests, and a right and several wrong solutions."""

    number: int
    function: str
    says: str
    tests: str
    right: str
    wrong: tuple[str, ...]
    difficulty: float


FAMILIES = (
    Family(
        function="clamped_sum",
        says="returns the sum of the numbers in xs, each clamped to between -$k and $k.",
        solution="def clamped_sum(xs):\n    return sum(min(max(x, -$k), $k) for x in xs)\n",
        cases=("[]", "[1, -1, 100]", "[-100, 2, 3]", "[-100, 100]"),
        mutations=(("max(x, -$k)", "max(x, 0)"), ("min(max(x, -$k), $k)", "min(x, $k)")),
        parameters=(4, 9, 12),
        difficulty=0.05,
    ),
    Family(
        function="multiples",
        says="returns the sum of the natural numbers below n that $k or 5 divides.",
        solution=(
            "def multiples(n):\n    return sum(i for i in range(n) if i % $k == 0 or i % 5 == 0)\n"
        ),
        cases=("0", "5", "30", "36"),
        mutations=(("range(n)", "range(n + 1)"), (" or ", " and ")),
        parameters=(3, 4, 6),
        difficulty=0.1,
    ),
    Family(
        function="rotate",
        says="returns the list xs rotated to the left by $k places (xs may be short or empty).",
        solution=(
            "def rotate(xs):\n    k = $k % len(xs) if xs else 0\n    return xs[k:] + xs[:k]\n"
        ),
        cases=("[]", "[1, 2]", "[1, 2, 3, 4, 5, 6, 7, 8]", "['a']"),
        mutations=(
            ("$k % len(xs) if xs else 0", "$k"),
            ("xs[k:] + xs[:k]", "xs[-k:] + xs[:-k]"),
        ),
        parameters=(3, 5, 7),
        difficulty=0.2,
    ),
    Family(
        function="caesar",
        says="shifts each ASCII letter of text by $k places, keeping its case and all else.",
        solution=(
            "def caesar(text):\n"
            "    out = []\n"
            "    for c in text:\n"
            "        if 'a' <= c <= 'z':\n"
            "            c = chr((ord(c) - 97 + $k) % 26 + 97)\n"
            "        elif 'A' <= c <= 'Z':\n"
            "            c = chr((ord(c) - 65 + $k) % 26 + 65)\n"
            "        out.append(c)\n"
            "    return ''.join(out)\n"
        ),
        cases=("''", "'abc'", "'Xyz, Zulu!'", "'zebra 9'"),
        mutations=(
            ("(ord(c) - 97 + $k) % 26 + 97", "ord(c) + $k"),
            ("elif 'A' <= c <= 'Z'", "elif 'A' <= c < 'X'"),
            ("        out.append(c)\n", "            out.append(c)\n"),
        ),
        parameters=(3, 11, 13),
        difficulty=0.25,
    ),
    Family(
        function="window_sums",
        says="returns the sums of every $k consecutive numbers of xs, in order.",
        solution=(
            "def window_sums(xs):\n"
            "    return [sum(xs[i:i + $k]) for i in range(len(xs) - $k + 1)]\n"
        ),
        cases=("[]", "[1]", "[1, 2, 3, 4, 5, 6]", "[5, -1, 4, 2, 2, 7, 1]"),
        mutations=(("len(xs) - $k + 1", "len(xs) - $k"), ("len(xs) - $k + 1", "len(xs)")),
        parameters=(2, 3, 4),
        difficulty=0.3,
    ),
    Family(
        function="squeeze",
        says=(
            "replaces each run of at least $k equal characters of text by the run's length "
            "and the character; shorter runs stay as they are."
        ),
        solution=(
            "def squeeze(text):\n"
            "    out, i = [], 0\n"
            "    while i < len(text):\n"
            "        j = i\n"
            "        while j < len(text) and text[j] == text[i]:\n"
            "            j += 1\n"
            "        n = j - i\n"
            "        out.append(f'{n}{text[i]}' if n >= $k else text[i] * n)\n"
            "        i = j\n"
            "    return ''.join(out)\n"
        ),
        cases=("''", "'a'", "'aabbbcccc'", "'xxxxyz'", "'abbbbb'"),
        mutations=(("n >= $k", "n > $k"), ("text[i] * n", "text[i]")),
        parameters=(3, 4, 5),
        difficulty=0.4,
    ),
    Family(
        function="top_words",
        says="returns the $k most frequent lower-cased words of text; ties in alphabetical order.",
        solution=(
            "def top_words(text):\n"
            "    count = {}\n"
            "    for word in text.lower().split():\n"
            "        count[word] = count.get(word, 0) + 1\n"
            "    return sorted(count, key=lambda w: (-count[w], w))[:$k]\n"
        ),
        cases=("''", "'b a B c a d e'", "'one two two three three three'", "'z y x w v'"),
        mutations=(("(-count[w], w)", "(count[w], w)"), ("[:$k]", "")),
        parameters=(1, 2, 3),
        difficulty=0.45,
    ),
    Family(
        function="nested",
        says=(
            "tells whether the brackets ()[] of text are balanced and nowhere nested deeper "
            "than $k."
        ),
        solution=(
            "def nested(text):\n"
            "    stack = []\n"
            "    for c in text:\n"
            "        if c in '([':\n"
            "            stack.append(c)\n"
            "            if len(stack) > $k:\n"
            "                return False\n"
            "        elif c in ')]':\n"
            "            if not stack or stack.pop() + c not in ('()', '[]'):\n"
            "                return False\n"
            "    return not stack\n"
        ),
        cases=("''", "'([])'", "'([)]'", "'(('", "'((([[]])))'", "'a(b)c]'"),
        mutations=(
            ("return not stack", "return True"),
            ("stack.pop() + c not in ('()', '[]')", "not stack.pop()"),
            ("len(stack) > $k", "len(stack) > 99"),
        ),
        parameters=(2, 3, 4),
        difficulty=0.55,
    ),
    Family(
        function="merge",
        says=(
            "merges the intervals [start, end] of xs that overlap or lie at most $k apart; "
            "the result is sorted."
        ),
        solution=(
            "def merge(xs):\n"
            "    out = []\n"
            "    for start, end in sorted(xs):\n"
            "        if out and start - out[-1][1] <= $k:\n"
            "            out[-1][1] = max(out[-1][1], end)\n"
            "        else:\n"
            "            out.append([start, end])\n"
            "    return out\n"
        ),
        cases=("[]", "[[1, 9], [2, 3]]", "[[20, 22], [1, 2], [3, 4]]", "[[1, 2], [12, 13]]"),
        mutations=(
            ("max(out[-1][1], end)", "end"),
            ("sorted(xs)", "xs"),
            ("<= $k", "<= -1"),
        ),
        parameters=(1, 2, 3),
        difficulty=0.6,
    ),
    Family(
        function="misses",
        says="counts the misses of a least-recently-used cache of $k places over the keys.",
        solution=(
            "def misses(keys):\n"
            "    held, missed = [], 0\n"
            "    for key in keys:\n"
            "        if key in held:\n"
            "            held.remove(key)\n"
            "        else:\n"
            "            missed += 1\n"
            "            if len(held) == $k:\n"
            "                held.pop(0)\n"
            "        held.append(key)\n"
            "    return missed\n"
        ),
        cases=("''", "'abcabc'", "'abacadaeaf'", "'abcdeabcdeaabb'"),
        mutations=(("held.pop(0)", "held.pop()"), ("missed = [], 0", "missed = [], 1")),
        parameters=(2, 3, 4),
        difficulty=0.7,
    ),
    Family(
        function="survivor",
        says="of n people in a circle each $k-th is removed; returns who is left (counted from 0).",
        solution=(
            "def survivor(n):\n"
            "    last = 0\n"
            "    for size in range(2, n + 1):\n"
            "        last = (last + $k) % size\n"
            "    return last\n"
        ),
        cases=("1", "2", "7", "41"),
        mutations=(("range(2, n + 1)", "range(2, n)"), ("return last", "return last + 1")),
        parameters=(2, 3, 5),
        difficulty=0.8,
    ),
    Family(
        function="change",
        says="counts the ways to pay n with coins of 1, $k and 10, the order not mattering.",
        solution=(
            "def change(n):\n"
            "    ways = [1] + [0] * n\n"
            "    for coin in (1, $k, 10):\n"
            "        for total in range(coin, n + 1):\n"
            "            ways[total] += ways[total - coin]\n"
            "    return ways[n]\n"
        ),
        cases=("0", "1", "10", "37"),
        mutations=(("(1, $k, 10)", "(1, $k)"), ("range(coin, n + 1)", "range(coin, n)")),
        parameters=(2, 4, 5),
        difficulty=0.85,
    ),
)


def _make(number: int, family: Family, parameter: int) -> Task:
    def fill(text: str) -> str:
        return text.replace("$k", str(parameter))

    right = fill(family.solution)
    names: dict[str, Any] = {}
    exec(right, names)
    function = names[family.function]
    checks = [
        f"assert {family.function}({case}) == {function(eval(case))!r}, "
        f"'{family.function}(' + {case!r} + ') is wrong'"
        for case in family.cases
    ]
    step = family.parameters.index(parameter)
    return Task(
        number=number,
        function=family.function,
        says=f"Write a Python function {family.function} that {fill(family.says)}",
        tests="\n".join(checks) + "\n",
        right=right,
        wrong=tuple(right.replace(fill(old), fill(new)) for old, new in family.mutations),
        difficulty=round(family.difficulty + 0.04 * step, 2),
    )


@cache
def tasks() -> tuple[Task, ...]:
    """All tasks, in a fixed order; a task's number is its place."""
    made = [(family, parameter) for family in FAMILIES for parameter in family.parameters]
    return tuple(_make(number, *each) for number, each in enumerate(made))
