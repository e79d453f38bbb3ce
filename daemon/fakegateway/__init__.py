"""A fake IB Gateway: the server side of the TWS wire protocol, and an exchange.

It knows nothing of the daemon and owns its codec. Where IBKR's documents leave a
choice, it takes the nastier one.
"""

from __future__ import annotations
