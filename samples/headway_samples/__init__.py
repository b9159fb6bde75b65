"""Headway's samples: three complete LangGraph programs, and a demo that compares them by arm."""
