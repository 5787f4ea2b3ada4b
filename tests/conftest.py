"""For all tests: a run that is told to end takes down what it made."""

import signal
import sys


def pytest_configure() -> None:
    # Fixtures clean up on an exception; the default of SIGTERM would leave hosts behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
