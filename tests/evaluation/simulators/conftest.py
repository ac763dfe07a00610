"""Collect the tests on real simulators only where these are installed (make test-libero, test-metaworld)."""

import importlib.util

collect_ignore_glob = [
    f"{simulator}/*"
    for simulator in ("libero", "metaworld")
    if any(importlib.util.find_spec(name) is None for name in ("vla_eval", simulator))
]
