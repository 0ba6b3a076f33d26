"""For all tests: how long an example takes fails none, for a machine may stall (speed is measured in ``bench``)."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
