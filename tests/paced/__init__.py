"""Real vLLM servers without an accelerator: a tiny model paced like a large one.

All is vLLM (queue, priority, KV blocks, prefix cache, chunked prefill, preemption, metrics,
HTTP); only how long a step takes is imitated. Two sides that share no imports:

* in the project's environment: `install` makes vLLM's environment, `servers` starts servers in it;
* in vLLM's own environment: `serve` (a process per server from one import), `pacing` (the
  scheduler) and `model` (a tiny model).

`pace` (pure) is what both sides agree on: the time of a step and the report of lateness.
"""
