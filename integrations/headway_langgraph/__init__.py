"""Headway for LangGraph: one decorator, and every LLM call of a graph's runs is scheduled.

Public: `schedule`, `scheduled`, `install`, `uninstall`.
"""

from headway_langgraph.installation import install, schedule, scheduled, uninstall

__all__ = ["install", "schedule", "scheduled", "uninstall"]
