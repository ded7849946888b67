# SPDX-License-Identifier: MIT
"""Waiting for what will be so: by time, for how often one can look depends on how fast all is."""
import time

WAIT_S = 60


def wait_until(condition, what="it does not come to pass", timeout=WAIT_S, pause=0.05):
    """Looks until condition() holds; 'what', or what it returns, says what is wrong otherwise."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(pause)
