from traced_fixture import traced  # noqa: F401
