"""How the properties are run: the same examples every time, or more and other ones when POINTS_LEDGER_TEST_EXAMPLES says how many.

    POINTS_LEDGER_TEST_EXAMPLES=2000 pytest tests/laws

A failure prints the smallest history found and the blob that brings it back (`@reproduce_failure`).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers", "tests.secured"]

os.environ["POINTS_LEDGER_LANG"] = "en"  # whatever the locale of the machine

EXAMPLES = os.environ.get("POINTS_LEDGER_TEST_EXAMPLES")
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True, suppress_health_check=_SLOW)
settings.register_profile("searching", deadline=None, print_blob=True, suppress_health_check=_SLOW)
settings.load_profile("searching" if EXAMPLES else "repeatable")
