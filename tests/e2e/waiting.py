# SPDX-License-Identifier: MIT
"""Waiting for what will be so: by time, for how often one can look depends on how fast all is."""
import time

WAIT_S = 60


def wait_until(condition, what="it does not come to pass", timeout=WAIT_S, pause=0.05):
    """What condition() returns, once that holds; 'what', or what it returns, says what is wrong otherwise."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(pause)
    return result
