"""How long the fuzz tests search.

The usual profile has the same examples in every run of the same tests: Hypothesis also tries constants of
the modules that are loaded, so another selection or order of tests can try others. A run that leaves out the
tests marked `exhaustive` (make test) tries a tenth of them. A long search takes random ones:

    pytest tests/fuzz --hypothesis-profile=search
"""

import pytest
from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,  # examples on a busy machine take any time
    "database": None,
    "suppress_health_check": [
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
}
settings.register_profile("tests", max_examples=2000, derandomize=True, **COMMON)
settings.register_profile("search", max_examples=10_000, print_blob=True, **COMMON)
settings.register_profile("few", max_examples=200, derandomize=True, **COMMON)


def pytest_configure(config: pytest.Config) -> None:
    wanted = config.getoption("--hypothesis-profile", None)
    few = "not exhaustive" in config.option.markexpr
    settings.load_profile(wanted or ("few" if few else "tests"))
