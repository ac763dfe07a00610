"""Rollouts on the embedded benchmarks: actors choose actions, the runner steps episodes in batches."""
