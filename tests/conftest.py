"""For all tests: a run that is told to end takes down what it made, and ends."""

import signal

from hypothesis import HealthCheck, settings

# Machines are shared: how long an example takes says nothing of it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def _ended(number: int, frame: object) -> None:
    # As Ctrl-C: the fixtures clean up, and no other test begins. SystemExit would be one test's
    # failure to pytest, and the default of SIGTERM would leave hosts behind.
    raise KeyboardInterrupt("ended by SIGTERM")


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, _ended)
    # A shell's background jobs begin with SIGINT ignored, and what they run inherits it: the
    # commands that tests interrupt would never hear it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
