"""How long a server asks to wait: in headers, in the fields of an error body, or in its text. Pure; loaded for errors only.

Source: RFC 9110, section 10.2.3 (``Retry-After``); the documentation of OpenAI, Azure, Anthropic, Gemini, Groq, OpenRouter
and Cerebras for the others; draft-ietf-httpapi-ratelimit-headers.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: The seconds of each unit, by the letter that it begins with.
_UNIT_SECONDS = {"m": 60.0, "s": 1.0, "h": 3600.0, "d": 86_400.0}
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,18})?"
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
_DURATION = rf"{_NUMBER}\s?{_UNIT}(?:,?\s?(?:and\s)?{_NUMBER}\s?{_UNIT})*"
#: "Please try again in 6m0s", "retry after 60 seconds", "Please wait 12 seconds", "resets in 3 hours".
_TEXT_PATTERN = (
    r"\b(?:try(?:ing)? again|retry(?:ing)?(?: your request)?|wait(?: for)?|resets?|available again|regain access)"
    rf"(?: (?:in|after|within))?(?: (?:about|approximately|another|at least))? ({_DURATION})"
)
#: "You will regain access on 2026-12-01 at 00:00 UTC", "resets at 2026-12-01T00:00:00Z".
_DATE_PATTERN = (
    r"\b(?:reset|resets|access|again|available)\b[^.]{0,20}?"
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?: at |[ t])([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]+)? ?(?:utc|z|\+00:00)"
)
#: ``x-ratelimit-reset-requests``, ``anthropic-ratelimit-tokens-reset``, ``ratelimit-reset``.
_RESET_HEADER = re.compile(r"(?:[a-z]+-)?rate-?limit-(?:(?P<before>[a-z0-9-]+)-)?reset(?P<after>-[a-z0-9-]+)?")
#: The fields of error bodies that hold a wait, and the seconds of their unit.
_FIELDS = {
    "retryDelay": 1.0,
    "retry_after": 1.0,
    "retryAfter": 1.0,
    "retry_after_seconds": 1.0,
    "retry_after_ms": 0.001,
    "retryAfterMs": 0.001,
    "estimated_time": 1.0,  # Hugging Face, while a model is loading
}
#: From these numbers on, a value is a time since 1970 in seconds or milliseconds (after 2001), and not a duration.
_FIRST_TIME_SECONDS = 1e9
_FIRST_TIME_MILLISECONDS = 1e12


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a server asks to wait: ``retry-after-ms`` (OpenAI, Azure), or ``Retry-After``.

    Args:
        headers: with case-insensitive or lower-case names.
        now: the time that a date is compared with; by default the present.
    """
    if (milliseconds := parse_header_number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := parse_header_number(text)) is not None:
        return seconds
    if re.fullmatch(_DURATION, text.strip().lower()):
        return parse_duration(text)
    try:
        return _seconds_until(parsedate_to_datetime(text), now)
    except (ValueError, OverflowError):
        return None


def parse_limit_reset(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds until all limits that are used up are reset, by the rate-limit headers.

    A limit is used up if its header ``…-remaining`` is 0. A reset without such a header counts if the limit has no name,
    because it then belongs to the limit that refused the request.

    Args:
        headers: with lower-case names.
    """
    waits = []
    for name, value in headers.items():
        match = _RESET_HEADER.fullmatch(name)
        if match is None:
            continue
        remaining = parse_header_number(headers.get(name.replace("reset", "remaining")))
        is_named = match["before"] is not None or match["after"] is not None
        is_used_up = remaining == 0 or (remaining is None and not is_named)
        if is_used_up and (seconds := parse_reset(value, now)) is not None:
            waits.append(seconds)
    # draft-ietf-httpapi-ratelimit-headers: r is what remains, t the seconds until the reset.
    waits += map(float, re.findall(r"r=0\b[^,]*?\bt=([0-9]{1,9})", headers.get("ratelimit", "")))
    return max(waits, default=None)


def parse_reset(value: str, now: datetime | None) -> float | None:
    """The seconds in the value of a reset header: a number of seconds, a time in seconds or milliseconds, ``6m0s``, a date."""
    value = value.strip()
    if (number := parse_header_number(value)) is not None:
        if number >= _FIRST_TIME_MILLISECONDS:
            number /= 1000
        elif number < _FIRST_TIME_SECONDS:
            return number
        return max(0.0, number - (now or datetime.now(UTC)).timestamp())
    if re.fullmatch(_DURATION, value.lower()):
        return parse_duration(value)
    try:
        return _seconds_until(datetime.fromisoformat(value), now)
    except (ValueError, OverflowError):
        return None


def parse_field(name: str, value: object) -> float | None:
    """The seconds in a field of an error body; ``None`` if it holds no wait."""
    unit = _FIELDS.get(name)
    if unit is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip().lower()
    if (number := parse_header_number(text)) is not None:
        return number * unit
    return parse_duration(text) if re.fullmatch(_DURATION, text) else None


def parse_text(text: str, now: datetime | None = None) -> float | None:
    """The seconds that a sentence asks to wait: "Please try again in 6m0s"."""
    text = text.lower()
    if match := re.search(_TEXT_PATTERN, text):
        return parse_duration(match[1])
    if match := re.search(_DATE_PATTERN, text):
        try:
            return _seconds_until(datetime.fromisoformat(f"{match[1]}T{match[2]}"), now)
        except ValueError:
            return None
    return None


def parse_duration(text: str) -> float:
    """The seconds in a duration such as ``1.2s``, ``20ms``, ``6m0s`` or ``2 minutes``."""
    parts: list[tuple[str, str]] = re.findall(rf"({_NUMBER})\s?([a-z]+)", text.lower())
    return sum(
        float(number) * (0.001 if unit == "ms" or unit.startswith("milli") else _UNIT_SECONDS[unit[0]])
        for number, unit in parts
    )


def format_wait(seconds: float) -> str:
    """Format a wait for people, with its two largest units: ``9 min 38 s``."""
    whole = max(1, round(seconds))
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts: list[str] = []
    for size, unit in units:
        count, whole = divmod(whole, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(part for part in parts[:2] if part)


def parse_header_number(text: str | None) -> float | None:
    """The number in a header; ``None`` if the text is not a plain decimal number."""
    return float(text) if text is not None and re.fullmatch(r"[ \t]*[0-9]{1,18}(\.[0-9]{1,9})?[ \t]*", text) else None


def _seconds_until(date: datetime, now: datetime | None) -> float:
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())
