"""What a developer runs by hand or by make; nothing here is part of the daemon."""

from __future__ import annotations
