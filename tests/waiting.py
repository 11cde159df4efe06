"""Waiting for what another thread or process does."""

import time

# Seconds after which what has not happened never will, however slow the machine is and whatever
# runs beside: a job, of the lowest priority, has 3 % of a core that other tests keep busy. A test
# that passes takes none of them.
PATIENCE = 900


def wait_until(condition, seconds=PATIENCE, process=None, *, log=None, every=0.05):
    """Return once the condition holds; it is looked at anew `every` so many seconds.

    The test fails when `seconds` have passed, or when `process`, which has to live until then, has
    ended; what it wrote into its `log` is shown.
    """
    deadline = time.monotonic() + seconds

    def failure(sentence):
        return f"{sentence}\n{log.read_text()}" if log else sentence

    while not condition():
        assert process is None or process.poll() is None, failure("the process has ended")
        assert time.monotonic() < deadline, failure(f"not within {seconds} seconds")
        time.sleep(every)
