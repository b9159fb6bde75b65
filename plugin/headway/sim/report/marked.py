"""Pages of which a command writes a part.

It stands between the lines ``<!-- NAME: ... -->`` and ``<!-- NAME end -->``.
"""

import re
from collections.abc import Mapping

from headway.core.errors import ConfigError


def rewritten(page: str, name: str, content: str) -> str:
    """The page with the part `name` made anew. Raises `ConfigError` if it has no place for it."""
    known = re.escape(name)
    part = re.compile(rf"(<!-- {known}: [^\n]*-->\n).*?(<!-- {known} end -->)", re.DOTALL)
    if not part.search(page):
        raise ConfigError(
            f"the page has no lines `<!-- {name}: ... -->` and `<!-- {name} end -->` to write "
            "between"
        )
    return part.sub(lambda found: f"{found[1]}\n{content}\n{found[2]}", page, count=1)


def written(page: str, parts: Mapping[str, str]) -> str:
    """The page with several parts made anew. Raises `ConfigError` if it has no place for one."""
    for name, content in parts.items():
        page = rewritten(page, name, content)
    return page
