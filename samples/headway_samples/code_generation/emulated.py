"""What the emulated models write: the right function, or one of the task's wrong ones."""

from headway.emulate.answers import Answer
from headway_samples.code_generation.tasks import tasks
from headway_samples.luck import Luck

MEDIAN_TOKENS = {"write": 450, "repair": 450}


def answer(luck: Luck) -> Answer:
    """The answer of ``write`` or ``repair``; attempts at one task are partly correlated."""
    task = tasks()[luck.marker.task]
    role = luck.marker.role
    right = luck.right(difficulty=task.difficulty, question="code")
    code = task.right if right else luck.choice(task.wrong, what="wrong code")
    return Answer(
        text=f"```python\n{code}```",
        output_tokens=luck.tokens(median=MEDIAN_TOKENS[role], role=role, right=right),
    )
