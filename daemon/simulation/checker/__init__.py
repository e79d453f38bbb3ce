"""The independent checker: laws judged from the gateway's ledger and the journal.

It shares no code with the daemon nor with the fake gateway: it reads the ledger's
JSON lines and the journal's SQLite file, and imports nothing but the library.
"""

from __future__ import annotations

from daemon.simulation.checker.judge import check
from daemon.simulation.checker.values import CheckError, Terms, Verdict, Violation

__all__ = ["CheckError", "Terms", "Verdict", "Violation", "check"]
