"""`ibkrd` on a host whose clock shows another time: host.py INSTANT ARGUMENTS."""

from __future__ import annotations

import signal
import sys
from datetime import datetime

signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as in daemon.__main__: imports follow

import time_machine  # noqa: E402

if __name__ == "__main__":
    instant = datetime.fromisoformat(sys.argv.pop(1))
    with time_machine.travel(instant, tick=True):
        from daemon.__main__ import main

        main()
