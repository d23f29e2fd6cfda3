"""Numbers as people read them: with a unit, and of a width that does not dance."""

from __future__ import annotations

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
STEP = 1024


def bytes_text(n: float) -> str:
    """Three digits and the unit, which keep columns aligned: "0 B", "1.50 GiB", "12.5 MiB", "512 KiB"."""
    value, unit = float(n), 0
    while value >= 999.5 and unit + 1 < len(UNITS):
        value, unit = value / STEP, unit + 1
    return f"{three_digits(value) if unit else int(value)} {UNITS[unit]}"


def three_digits(value: float) -> str:
    for decimals in (2, 1):
        if round(value, decimals) < 10 ** (3 - decimals):
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"


def count_text(n: float) -> str:
    """Whole numbers, with thin groups: "12 345 678"."""
    return f"{int(n):,}".replace(",", " ")


def rate_text(per_second: float) -> str:
    if per_second == 0:
        return "0"
    if per_second < 0.05:
        return "<0.1"
    return f"{per_second:.1f}" if per_second < 99.95 else count_text(round(per_second))


def percent_text(part: float, whole: float) -> str:
    """Never rounded up to all of it: 99.96 % of hits is not 100 %."""
    if not whole:
        return "-"
    tenths = int(1000 * part / whole)
    return f"{tenths // 10}.{tenths % 10} %"


def micros_text(us: float) -> str:
    if us < 999.5:
        return f"{three_digits(us)} us" if us else "0 us"
    return f"{three_digits(us / 1000)} ms" if us < 999_500 else f"{three_digits(us / 1_000_000)} s"


def duration_text(seconds: float) -> str:
    whole = int(max(seconds, 0))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"
