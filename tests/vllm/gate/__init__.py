"""The simulator's gate: the same runs on real, paced vLLM servers and in virtual time.

``python -m tests.vllm.gate`` starts the servers, measures each with ``headway profile``, plays
every cell live (the daemon, or LiteLLM's own Router, over HTTP) and in virtual time with the
profiles that were fitted, compares them, and writes docs/validity.md with its pictures.
The virtual side is told nothing of how the live one went.
"""
