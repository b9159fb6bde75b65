"""Headway against real vLLM servers, paced to be of any speed (tests/paced)."""
