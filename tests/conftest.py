"""For every test: what a busy machine must not decide."""

from hypothesis import HealthCheck, settings

# Examples are counted, not timed: on a machine that others use too, any one of them may take long.
settings.register_profile("sluice", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sluice")
