"""Spans of time and amounts of memory as people read them."""

from __future__ import annotations


def long_span(seconds: float) -> str:
    """In two units: `3 d 04 h`, `1 h 05 min`, `12 s`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def short_span(seconds: float) -> str:
    """With two or three digits: `0.45 ms`, `12.3 ms`, `1.25 s`."""
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.2f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def memory(count: int) -> str:
    """With three digits: `812 bytes`, `4.1 MB`."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
