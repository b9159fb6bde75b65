"""Headway's adapter for vLLM, and for what speaks its dialect.

The daemon finds `adapter` by the entry point group ``headway.engines`` and asks it how every
endpoint with ``engine: vllm`` fares; see the README beside this file.
"""

from headway_vllm.watcher import VllmAdapter

adapter = VllmAdapter()

__all__ = ["adapter"]
