"""Rollouts: a policy on a benchmark, one record an episode."""
