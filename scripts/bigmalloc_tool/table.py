"""Tables of text: numbers to the right, words to the left, as wide as they need to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

GAP = "  "


def lines(titles: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[str] = ()) -> list[str]:
    """The titles' line and one for each row. Columns whose titles are in `left` begin where their title does."""
    cells = [list(titles), *(list(row) for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(titles))]
    words = {n for n, title in enumerate(titles) if title in set(left)}
    return [GAP.join(aligned(cell, widths[n], n in words) for n, cell in enumerate(row)).rstrip() for row in cells]


def aligned(cell: str, width: int, is_word: bool) -> str:
    return cell.ljust(width) if is_word else cell.rjust(width)


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[str] = ()) -> list[str]:
    words = set(left)
    rule = [":--" if title in words else "--:" for title in titles]
    cells = [list(titles), rule, *([escaped(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def escaped(cell: str) -> str:
    """Names are the programs' own: none of them ends a cell or begins a tag."""
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
