"""The times that orders carry: goodAfterTime and goodTillDate."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

_UTC_FORM = re.compile(r"(\d{8})-(\d{2}:\d{2}:\d{2})")
_ZONED_FORM = re.compile(r"(\d{8}) +(\d{2}:\d{2}:\d{2})(?: +(\S.*))?")
_DATE_FORM = re.compile(r"\d{8}")
_END_OF_DAY = time(23, 59, 59)


def order_time(text: str, default_zone: str) -> datetime | None:
    """Return the moment that *text* names, aware UTC; None for an empty text.

    Forms: `YYYYMMDD HH:MM:SS zone` (the zone may be missing), `YYYYMMDD-HH:MM:SS`
    in UTC, and `YYYYMMDD` for the end of that day.

    Raises:
        ValueError: *text* has another form or an unknown zone.
    """
    stripped = text.strip()
    if not stripped:
        return None
    if match := _UTC_FORM.fullmatch(stripped):
        day, clock = match.groups()
        return _moment(day, clock).replace(tzinfo=UTC)
    if match := _ZONED_FORM.fullmatch(stripped):
        day, clock, zone = match.groups()
        return (
            _moment(day, clock)
            .replace(tzinfo=_zone(zone or default_zone))
            .astimezone(UTC)
        )
    if _DATE_FORM.fullmatch(stripped):
        day_end = datetime.combine(_moment(stripped, "00:00:00"), _END_OF_DAY)
        return day_end.replace(tzinfo=_zone(default_zone)).astimezone(UTC)
    raise ValueError(f"{text!r} is not YYYYMMDD HH:MM:SS zone nor YYYYMMDD-HH:MM:SS")


def _moment(day: str, clock: str) -> datetime:
    return datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - the caller adds the zone


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone") from error
