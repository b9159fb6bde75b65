"""How the source is kept: small files, small functions, a docstring that says what lives there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
FILES = sorted(
    path
    for folder in ("plugin", "integrations", "samples")
    for path in (ROOT / folder).rglob("*.py")
)
EACH = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def too_long(tree: ast.Module) -> list[str]:
    """Functions beyond the limit, with their length, docstring included."""
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 >= LONGEST_FUNCTION
    ]


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 50
    assert too_long(ast.parse("def f():\n" + "    pass\n" * LONGEST_FUNCTION))


@EACH
def test_small_files_and_functions_with_a_docstring_on_top(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) < LONGEST_FILE, "split it: one noun a file"
    assert too_long(tree) == []
    assert ast.get_docstring(tree), "say in a docstring on top what lives here"
