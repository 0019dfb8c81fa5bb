"""Property tests on a machine that may stand still for seconds."""

from hypothesis import HealthCheck, settings

# How long an example takes tells of the machine, not of the code.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
