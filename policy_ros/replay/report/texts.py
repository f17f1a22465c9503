# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them."""

from __future__ import annotations

import math

NONE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """``digits`` significant digits without an exponent where it can be had; a dash for what is not known.

    >>> number(0.012345), number(1234.5), number(2.0), number(None)
    ('0.0123', '1234', '2', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0.0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -5 or magnitude > 8:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{max(0, digits - 1 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(value: float | None) -> str:
    """Per cent; 100 % and 0 % stand for exactly these."""
    if value is None or not math.isfinite(value):
        return NONE
    percent = 100.0 * value
    text = f"{percent:.1f}"
    if text == "100.0" and percent < 100.0:
        return "> 99.9 %"
    if text == "0.0" and percent > 0.0:
        return "< 0.1 %"
    return f"{text.removesuffix('.0')} %"


def duration(seconds: float) -> str:
    """``3.2 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 bag``, ``2 bags``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
