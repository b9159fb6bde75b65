"""What a run has shown by the time one of its nodes starts, in plain numbers.

Kept while the run unfolds, a few dictionary accesses a node, so that a predictor of what follows
is asked, and later taught, with exactly what was known then. Nodes of one step start together and
see the same past. What may not live here: predictions.
"""

import msgspec


class Past(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A run before one of its nodes. Nodes in a row with one name are a stretch.

    `position` counts the nodes before, `repeats` those that followed one of their own name,
    `stretches` the others. Of the node's name: `streak` is how long the stretch is that it
    goes on with, `stretch` the length of the last one that was closed, `entries` their number,
    `alike` how often in a row its answers were as long as the one before. `last`, `second_last`:
    names before; `last_visits`: how often the last one ran. Tokens are 0 where nothing was told:
    of the last answers, of this node's last (`own_output`), of all together, of the longest, of
    the last and the first prompt. `tool_calls` are those that the last answer asked for, `width`
    the nodes of the last step (1 where steps are not told).
    """

    position: int = 0
    streak: int = 0
    repeats: int = 0
    stretches: int = 0
    stretch: int = 0
    longest_streak: int = 0
    entries: int = 0
    alike: int = 0
    last: str = ""
    second_last: str = ""
    last_visits: int = 0
    last_output: int = 0
    second_last_output: int = 0
    own_output: int = 0
    outputs: int = 0
    longest_output: int = 0
    last_prompt: int = 0
    first_prompt: int = 0
    tool_calls: int = 0
    width: int = 0


NO_PAST = Past()
"""Of a run that begins."""
ALIKE_SHARE = 0.02
"""Answers that differ by less are as long as each other."""


class _Name:
    """What a run's nodes of one name have shown."""

    __slots__ = ("alike", "entries", "output", "stretch", "visits")

    def __init__(self) -> None:
        self.visits = self.entries = self.stretch = self.output = self.alike = 0


class History:
    """A run so far: told of nodes and answers as they come."""

    __slots__ = (
        "_before",
        "_first_prompt",
        "_last",
        "_last_output",
        "_last_prompt",
        "_longest_output",
        "_longest_streak",
        "_names",
        "_nodes",
        "_now",
        "_outputs",
        "_repeats",
        "_second_last",
        "_second_last_output",
        "_step",
        "_streak",
        "_stretches",
        "_tool_calls",
        "_width",
    )

    def __init__(self) -> None:
        self._names: dict[str, _Name] = {}
        self._now: list[str] = []
        self._step = 0
        self._before = self._nodes = 0
        self._last = self._second_last = ""
        self._streak = self._repeats = self._stretches = self._longest_streak = 0
        self._last_output = self._second_last_output = 0
        self._outputs = self._longest_output = self._last_prompt = self._first_prompt = 0
        self._tool_calls = self._width = 0

    def node_started(self, name: str, step: int) -> Past:
        """A node begins: what the run had shown before. Steps that are not known are 0."""
        if not step or step != self._step:
            self._step_over()
            self._step = step
        self._now.append(name)
        self._nodes += 1
        return self._past(name)

    def _step_over(self) -> None:
        """Nodes of a step count as one, by the first name in the alphabet: order is chance."""
        if not self._now:
            return
        name = min(self._now)
        self._width = len(self._now)
        for each in self._now:
            self._of(each).visits += 1
        self._now.clear()
        one = self._of(name)
        if name == self._last:
            self._streak += 1
            self._repeats += 1
            self._longest_streak = max(self._longest_streak, self._streak)
        else:
            if self._last:
                self._of(self._last).stretch = self._streak
            one.entries += 1
            self._streak = 1
            self._stretches += 1
        self._second_last, self._last = self._last, name
        self._before = self._nodes

    def _of(self, name: str) -> _Name:
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = _Name()
        return found

    def _past(self, name: str) -> Past:
        one = self._of(name)
        return Past(
            position=self._before,
            streak=self._streak if name == self._last else 0,
            repeats=self._repeats,
            stretches=self._stretches,
            stretch=one.stretch,
            longest_streak=self._longest_streak,
            entries=one.entries,
            alike=one.alike,
            last=self._last,
            second_last=self._second_last,
            last_visits=self._of(self._last).visits if self._last else 0,
            last_output=self._last_output,
            second_last_output=self._second_last_output,
            own_output=one.output,
            outputs=self._outputs,
            longest_output=self._longest_output,
            last_prompt=self._last_prompt,
            first_prompt=self._first_prompt,
            tool_calls=self._tool_calls,
            width=self._width,
        )

    def answered(
        self, name: str, prompt_tokens: int, output_tokens: int, tool_calls: int = 0
    ) -> None:
        """A call of a node of that name was answered."""
        one = self._of(name)
        same = one.output > 0 and abs(one.output - output_tokens) <= ALIKE_SHARE * one.output
        one.alike = one.alike + 1 if same else 0
        one.output = output_tokens
        self._second_last_output, self._last_output = self._last_output, output_tokens
        self._outputs += output_tokens
        self._longest_output = max(self._longest_output, output_tokens)
        self._last_prompt = prompt_tokens
        self._tool_calls = tool_calls
        self._first_prompt = self._first_prompt or prompt_tokens
