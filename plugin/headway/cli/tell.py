"""How commands print quantities and names: one way for all of them."""

import io
import os
import sys
from typing import Any

from rich.console import Console

WIDTH_WITHOUT_A_TERMINAL = 160
ABSENT = "-"


def wide_console() -> Console:
    """A console on stdout; in a pipe or a file names are not folded into 80 columns.

    A stream that does not know a character shows ``?`` instead.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=WIDTH_WITHOUT_A_TERMINAL if piped else None)


def tenth_told(value: Any) -> str:
    """A number with one decimal."""
    return f"{value:.1f}" if isinstance(value, int | float) else ABSENT


def seconds_told(value: Any) -> str:
    """``250 ms``, ``12.0 s``, ``3 min``, ``2.5 h``; ``?`` for what is no number."""
    if not isinstance(value, int | float):
        return "?"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def count_told(value: Any) -> str:
    """A whole number: ``12,345``."""
    return f"{value:,.0f}" if isinstance(value, int | float) else ABSENT


def ratio_told(value: Any) -> str:
    """A number with two decimals."""
    return f"{value:.2f}" if isinstance(value, int | float) else ABSENT


def share_told(value: Any) -> str:
    """A share of one, in percent."""
    return f"{value:.0%}" if isinstance(value, int | float) else ABSENT


def one_line(value: Any) -> str:
    """A name as one line without control codes: what users call their nodes may hold anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
