"""Settings for the whole suite."""

import gc
import signal

from hypothesis import settings

# A deadline per example measures the machine, not the code, and fails at random on a busy one. A change is
# judged by the same examples every time; looking for new ones is what `make fuzz` is for.
settings.register_profile("dualpath", deadline=None, derandomize=True)
settings.load_profile("dualpath")

# A shell has what it runs in the background ignore SIGINT, and all that is started from there inherits it:
# those who wait to be interrupted would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What has been collected stays: looking at it again and again, for up to a second at a time, would have
    whoever talks to this process wait."""
    gc.collect()
    gc.freeze()
