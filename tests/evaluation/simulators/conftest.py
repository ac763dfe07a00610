"""Collect the tests on the real LIBERO simulator only where it is installed (make test-libero)."""

import importlib.util

if any(importlib.util.find_spec(name) is None for name in ("vla_eval", "libero")):
    collect_ignore_glob = ["libero/*"]
