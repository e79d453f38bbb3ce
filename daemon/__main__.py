"""The door of the command `ibkrd`: arguments in, exit status out."""

from __future__ import annotations

import signal
import sys

# The interpreter's first milliseconds die of a SIGUSR1 unless it is ignored; the
# daemon takes it over as soon as its loop runs. The service files start it trapped.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

import daemon  # noqa: E402  (nothing may be imported before the line above)

_OTHER_OWNER = (
    "ibkrd: the import name `daemon` belongs to another distribution here "
    "(python-daemon?): install ibkrd into an environment of its own"
)


def main() -> None:
    """Run the command line and exit with its status."""
    if getattr(daemon, "__dist__", None) != "ibkrd":
        sys.exit(_OTHER_OWNER)
    from daemon.cli import run_cli  # noqa: PLC0415  (after the guard)

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
