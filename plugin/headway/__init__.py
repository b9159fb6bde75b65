"""Headway: scheduling of agent workflows over many language models.

The names that a user's program needs; everything here works, as a no-op,
without a daemon.
"""

from headway.context import current_run, feedback

__all__ = ["__version__", "current_run", "feedback"]
__version__ = "0.1.0"
