"""Dates, times, spans and time zones as lists of numbers and names, and back."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any

MOMENTS = (date, datetime, time, timedelta, timezone)
"""The classes that cross; what derives from one of them is a class of somebody's own and does not."""


def parts(value: Any) -> Any:
    """What a value of one of ``MOMENTS`` is made of, as JSON takes it.

    Raises:
        LookupError: Its time zone is of another class than Python's own.
    """
    match value:
        case datetime():
            day = [value.year, value.month, value.day]
            return [*day, *_clock(value), value.fold, _zone(value.tzinfo)]
        case date():
            return [value.year, value.month, value.day]
        case time():
            return [*_clock(value), value.fold, _zone(value.tzinfo)]
        case timedelta():
            return _span(value)
    return _zone(value)


def _span(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _clock(value: datetime | time) -> list[int]:
    return [value.hour, value.minute, value.second, value.microsecond]


def _zone(zone: tzinfo | None) -> object:
    """None, the name of a zone, or an offset with its name."""
    if zone is None:
        return None
    if type(zone) is timezone:
        return [_span(zone.utcoffset(None)), zone.tzname(None)]
    if type(zone).__module__ == "zoneinfo" and type(key := getattr(zone, "key", None)) is str:
        return key
    raise LookupError(f"a time zone of the class {type(zone).__name__}")


def _zone_of(form: Any) -> tzinfo | None:
    if form is None:
        return None
    if type(form) is str:
        from zoneinfo import ZoneInfo

        return ZoneInfo(form)
    offset, name = timedelta(*form[0]), form[1]
    plain = UTC if not offset else timezone(offset)
    return plain if plain.tzname(None) == name else timezone(offset, name)


FROM_PLAIN: dict[str, Callable[[Any], object]] = {
    "timedelta": lambda v: timedelta(*v),
    "date": lambda v: date(*v),
    "datetime": lambda v: datetime(*v[:7]).replace(fold=v[7], tzinfo=_zone_of(v[8])),
    "time": lambda v: time(*v[:4]).replace(fold=v[4], tzinfo=_zone_of(v[5])),
    "timezone": _zone_of,
}
"""From such parts to the value, by the name of its class."""
