"""What all figures share: one colour and line per method, panels, legends, units.

The colours are from the colour-blind safe palette of Okabe and Ito 2008 (Color Universal Design).  Up to seven methods
also have line styles of their own, so that figures can be read in grey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any, ParamSpec

from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "CHAIN_COLOURS", "PART_LABELS", "RESOLUTION", "SOC_UNIT", "colours", "in_thousands", "label", "legend", "lines",
    "panels", "pdf", "plain", "png", "styled", "unit",
]  # fmt: skip

Arguments = ParamSpec("Arguments")

PART_LABELS = {"train": "fitted sites", "held_out": "held-out sites"}
"""How the parts of a tree are called."""

RESOLUTION = 130
"""Dots per inch of a figure that is saved."""

SOC_UNIT = "kg C m$^{-3}$"
"""Figures show soil organic carbon in kg, whose numbers are short; :func:`in_thousands` prints them."""

_LABELS = {
    "mc_dropout": "MC dropout", "vi": "VI", "nuts": "NUTS", "deep_ensemble": "deep ensemble", "laplace": "Laplace",
    "site_nuts": "NUTS by site", "proda_metropolis": "PRODA's Metropolis", "sghmc": "SGHMC",
    "upscaling": "PRODA's second stage",
}  # fmt: skip
_COLOURS = {"mc_dropout": "#D55E00", "vi": "#009E73", "nuts": "#0072B2"}
_MORE_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = {"mc_dropout": ":", "vi": "--", "nuts": "-"}
_MORE_LINES = ("-.", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))
CHAIN_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Colours of chains, in turn."""

_MOST_TICKS = 4

_STYLE: Any = {
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 9, "figure.titlesize": 10,
    "figure.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.08, "figure.constrained_layout.w_pad": 0.08, "pdf.fonttype": 42,
    "figure.autolayout": False, "figure.constrained_layout.use": False,
}  # fmt: skip


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Make a function draw in the style of binn_prob, whatever the style of the session, which stays as it is."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        from matplotlib import rc_context, rcParamsDefault

        # The one setting that the context does not put back is the backend, so it is left alone.
        style: Any = {name: value for name, value in rcParamsDefault.items() if name != "backend"} | _STYLE
        with rc_context(style):
            return draw(*args, **kwargs)

    return drawn


def label(method: str) -> str:
    """Return the name of a method as it is written in a text; a remark behind it, as in ``nuts (short)``, is kept."""
    word, space, remark = method.partition(" ")
    return _LABELS.get(word, word) + space + remark


def colours(methods: Iterable[str]) -> dict[str, str]:
    """Return the colour of each method: the same in all figures for three of them, the next free one for others."""
    return _handed_out(methods, _COLOURS, _MORE_COLOURS)


def lines(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the colour, line style and legend entry of each method, as arguments of matplotlib."""
    methods = list(methods)
    styles = _handed_out(methods, _LINES, _MORE_LINES)
    return {
        name: {"color": colour, "linestyle": styles[name], "label": label(name)}
        for name, colour in colours(methods).items()
    }


def _handed_out(methods: Iterable[str], of_some: Mapping[str, Any], more: tuple[Any, ...]) -> dict[str, Any]:
    """Return for each method what is its own, if another has not got it, or the next that is free."""
    found: dict[str, Any] = {}
    for name in methods:
        own = of_some.get(name.partition(" ")[0])
        free = [one for one in (*more, *of_some.values()) if one not in found.values()]
        found[name] = own if own is not None and own in free else (free or more)[0]
    return found


def panels(rows: int, columns: int, size: tuple[float, float], **shared: Any) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of ``rows`` times ``columns`` panels, each of ``size`` inches, and its axes (row, column)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * size[0] + 0.4, rows * size[1] + 0.6), layout="constrained")
    axes: NDArray[Any] = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, axes


def legend(figure: Figure, axis: Axes, *, above: bool = False) -> None:
    """Put the legend of one panel below all panels, or above them where a label of the figure is below.

    It has as many columns, up to six, as the figure is wide enough for.
    """
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    for columns in range(min(len(unique), 6), 0, -1):
        drawn = figure.legend(
            list(unique.values()),
            list(unique),
            loc="outside upper center" if above else "outside lower center",
            ncols=columns,
        )
        if columns == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            return
        drawn.remove()


def in_thousands(axis: Axis) -> None:
    """Label a logarithmic axis in g with kg, at 1 and 3 of every decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}"))
    axis.set_minor_formatter(NullFormatter())


def plain(axis: Axis) -> None:
    """Label a logarithmic axis, whose ends no longer change, with up to four numbers without powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    low, high = sorted(axis.get_view_interval())
    places: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        within = [digit * 10.0**power for power in range(-12, 13) for digit in steps]
        within = [value for value in within if low <= value <= high]
        if len(within) <= _MOST_TICKS or not places:
            places = within[:: -(-len(within) // _MOST_TICKS) or 1]
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def unit(text: str) -> str:
    """Return a unit such as ``m2 yr-1`` in parentheses with its exponents raised, nothing for the unit 1."""
    words = [word.rstrip("-0123456789") for word in text.split()]
    powers = [word[len(stem) :] for word, stem in zip(text.split(), words, strict=True)]
    raised = [f"{stem}$^{{{power}}}$" if power else stem for stem, power in zip(words, powers, strict=True)]
    return "" if text == "1" else f" ({' '.join(raised)})"


def png(figure: Figure, resolution: int = RESOLUTION) -> bytes:
    """Return a figure as PNG of ``resolution`` dots per inch."""
    return _saved(figure, "png", dpi=resolution)


def pdf(figure: Figure) -> bytes:
    """Return a figure as PDF, in vectors, its text as text; the same figure gives the same bytes."""
    return _saved(figure, "pdf", metadata={"CreationDate": None})


def _saved(figure: Figure, form: str, **options: Any) -> bytes:
    from matplotlib import rc_context

    buffer = BytesIO()
    with rc_context(_STYLE):
        engine = figure.get_layout_engine()
        if engine is not None:
            # Panels are placed once: to place them is most of the work, and to do so again moves them by a hair.
            engine.execute(figure)
            figure.set_layout_engine(None)  # with "none", every picture would be drawn twice
        figure.savefig(buffer, format=form, **options)
    return buffer.getvalue()
