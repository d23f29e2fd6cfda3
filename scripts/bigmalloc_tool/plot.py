"""bigmalloc plot FILE...: traces as a picture.

One file becomes a figure of panels (panels.py): those that there is data for, or the ones that --kind names. Several
files, such as those of the ranks of one run, become small multiples: one panel for each, all on the same scales.
Matplotlib is needed for this command and for no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bigmalloc_tool.errors import FileError, ToolError, UsageError, parser
from bigmalloc_tool.panels import ACCENT, GREY, INK, KINDS, PANELS, Axes, Panel, panels_of, plain, time_axis
from bigmalloc_tool.story import Story
from bigmalloc_tool.trace import load

Figure = Any  # of matplotlib
FORMATS = ("png", "svg", "pdf")
DPI = 150
MOST_FILES = 64
STYLE: Any = {
    "font.size": 8.5,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.6,
}

# Of a figure, in inches.
LEFT, RIGHT, HEAD = 0.65, 0.3, 0.72  # edges; who and where it was
TIME_WIDTH, SIDE_WIDTH, ALONE_WIDTH, MULTIPLE_WIDTH = 5.9, 3.2, 6.6, 3.7  # of axes
LABELS = 1.05  # right of lines
TICKS = 0.65  # left of axes
TITLE, LEGEND_LINE, FOOT = 0.3, 0.16, 0.5
GAP = 0.16  # under axes without labels


# ---- One trace ----


def draw_story(pyplot: Any, story: Story, kinds: Sequence[str]) -> Figure:
    """What goes over time in a column, on one axis of time; distributions in a column beside it."""
    panels = panels_of(story, kinds)
    if not panels:
        raise nothing_for(story, " and ".join(kinds) or "a picture")
    over_time = [panel for panel in panels if panel.is_over_time]
    others = [panel for panel in panels if not panel.is_over_time]
    time_width = TIME_WIDTH if others else ALONE_WIDTH
    side = LEFT + (time_width + LABELS + TICKS if over_time else 0)
    width = side + SIDE_WIDTH + RIGHT if others else LEFT + time_width + LABELS
    height = HEAD + max(height_of(over_time), height_of(others))
    figure = pyplot.figure(figsize=(width, height))
    draw_column(figure, over_time, story, (LEFT, time_width))
    draw_column(figure, others, story, (side, SIDE_WIDTH))
    draw_head(figure, story.who(), story.where())
    draw_foot(figure, story.trace.notes)
    return figure


def height_of(panels: Sequence[Panel]) -> float:
    return sum(TITLE + panel.legend_lines * LEGEND_LINE + panel.height + under(panel) for panel in panels) + FOOT


def under(panel: Panel) -> float:
    return GAP if panel.is_over_time else 2 * GAP


def draw_column(figure: Figure, panels: Sequence[Panel], story: Story, place: tuple[float, float]) -> None:
    """From top to bottom; place: left edge and width."""
    top = HEAD
    for panel in panels:
        top += TITLE + panel.legend_lines * LEGEND_LINE
        axes = add_axes(figure, (place[0], top), (place[1], panel.height))
        draw_panel(axes, panel, story, panel is panels[-1])
        top += panel.height + under(panel)


def add_axes(figure: Figure, corner: tuple[float, float], size: tuple[float, float]) -> Axes:
    """By its upper left corner from the figure's, in inches."""
    width, height = figure.get_size_inches()
    bottom = height - corner[1] - size[1]
    return figure.add_axes((corner[0] / width, bottom / height, size[0] / width, size[1] / height))


def draw_panel(axes: Axes, panel: Panel, story: Story, is_lowest: bool) -> None:
    if panel.is_over_time:
        time_axis(axes, story, is_lowest)
    panel.draw(axes, story)


def draw_head(figure: Figure, who: str, where: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(LEFT / width, 1 - 0.16 / height, plain(who), fontsize=12, fontweight="bold", va="top")
    figure.text(LEFT / width, 1 - 0.43 / height, plain(where), color=GREY, va="top")


def draw_foot(figure: Figure, notes: Sequence[str]) -> None:
    """What is wrong or missing: a picture of a part must not look like one of all."""
    width, height = figure.get_size_inches()
    figure.text(LEFT / width, 0.07 / height, plain("; ".join(notes)), color=ACCENT, fontsize=7.5, va="bottom")


def nothing_for(story: Story, what: str) -> ToolError:
    return FileError(story.trace.path, f"has nothing for {what}; requests are in it with BIGMALLOC_TRACE_EVENTS=on")


# ---- Several ----


def draw_stories(pyplot: Any, stories: Sequence[Story], kind: str) -> Figure:
    panel = next(panel for panel in PANELS if panel.kind == kind)
    for story in stories:
        if not panel.fits(story):
            raise nothing_for(story, kind)
    what = share_scales(pyplot, stories, panel)
    columns = 2 if len(stories) in (2, 4) else 3
    rows = -(-len(stories) // columns)
    column = MULTIPLE_WIDTH + LABELS + TICKS
    row = TITLE + panel.legend_lines * LEGEND_LINE + panel.height + FOOT
    figure = pyplot.figure(figsize=(LEFT + columns * column - TICKS, HEAD + rows * row))
    for number, story in enumerate(stories):
        corner = LEFT + number % columns * column, HEAD + (number // columns + 1) * row - FOOT - panel.height
        axes = add_axes(figure, corner, (MULTIPLE_WIDTH, panel.height))
        draw_panel(axes, panel, story, is_lowest=True)
    commands = sorted({story.trace.header.command or "process" for story in stories})
    draw_head(figure, f"{what}: {len(stories)} processes", "  ·  ".join([", ".join(commands), *common_places(stories)]))
    draw_foot(figure, [f"{story.trace.path.name}: {note}" for story in stories for note in story.trace.notes])
    return figure


def share_scales(pyplot: Any, stories: Sequence[Story], panel: Panel) -> str:
    """Draws all of them once to see how high they are, and what the panel of the highest is called."""
    longest = max(story.shown_s for story in stories)
    tops = []
    for story in stories:
        story.shown_s = longest
        figure = pyplot.figure(figsize=(MULTIPLE_WIDTH, panel.height))
        axes = figure.add_subplot()
        tops.append((top_of(axes, story, panel), str(axes.get_title(loc="left"))))
        pyplot.close(figure)
    top, title = max(tops)
    for story in stories:
        story.shown_top, story.multiple = top, story.brief()
    return title


def top_of(axes: Axes, story: Story, panel: Panel) -> float:
    """The highest of its lines, without those that only belong to labels."""
    panel.draw(axes, story)
    lines = [line for line in axes.lines if line.get_transform().contains_branch(axes.transData)]
    return max((float(value) for line in lines for value in line.get_ydata()), default=0.0)


def common_places(stories: Sequence[Story]) -> list[str]:
    hosts = sorted({story.trace.header.host for story in stories})
    first = min(stories, key=lambda story: story.trace.header.started_unix_us)
    return [", ".join(hosts[:4]) + (" ..." if len(hosts) > 4 else ""), first.date()]


# ---- The command ----


def matplotlib_or_error() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ToolError(
            "matplotlib is not installed for this Python; get it by `python3 -m pip install matplotlib` "
            "or as the package python3-matplotlib"
        ) from error
    matplotlib.rcParams.update(STYLE)
    return pyplot


def chosen_kinds(text: str) -> list[str]:
    kinds = [kind for kind in text.split(",") if kind]
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"no such kind: {kind}; there are {', '.join(KINDS)}")
    return kinds


def draw_files(files: Sequence[str], kinds: Sequence[str]) -> Figure:
    if len(files) > MOST_FILES:
        raise UsageError(f"{len(files)} files; a picture has room for {MOST_FILES}")
    if len(files) > 1 and len(kinds) > 1:
        raise UsageError("several files become pictures of one kind; name one")
    pyplot = matplotlib_or_error()
    stories = [Story(load(file)) for file in files]
    if len(stories) == 1:
        return draw_story(pyplot, stories[0], kinds)
    return draw_stories(pyplot, stories, kinds[0] if kinds else "memory")


def main(arguments: list[str]) -> int:
    words = parser("plot", "Draws what BIGMALLOC_TRACE has written.")
    words.add_argument("files", nargs="+", metavar="FILE", help="a trace; several become small multiples")
    words.add_argument(
        "-o", "--output", metavar="OUT", help=f"the picture, by its ending one of {', '.join(FORMATS)} (FILE.png)"
    )
    words.add_argument("--kind", default="", metavar="KIND[,KIND...]", help=f"these panels alone: {', '.join(KINDS)}")
    chosen = words.parse_args(arguments)
    output = Path(chosen.output or f"{chosen.files[0]}.png")
    if output.suffix[1:] not in FORMATS:
        raise UsageError(f"{output}: the ending names the format, one of {', '.join(FORMATS)}")
    figure = draw_files(chosen.files, chosen_kinds(chosen.kind))
    figure.savefig(output, dpi=DPI)
    print(f"wrote {output}")
    return 0
