"""Policies: Headway's own and the baselines, under one protocol."""

from headway.policy.assembly import DEFAULT_POLICY, POLICIES, make_policy, make_scheduler

__all__ = ["DEFAULT_POLICY", "POLICIES", "make_policy", "make_scheduler"]
