"""Settings for the whole suite."""

from hypothesis import settings

# A deadline per example measures the machine, not the code, and fails at random on a busy one.
settings.register_profile("dualpath", deadline=None)
settings.load_profile("dualpath")
