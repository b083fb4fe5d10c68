"""Images as points of a plane: a map of the features that a model's head gets."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kerastl.errors import UsageError
from kerastl.evaluation.layout import printable, text_width
from kerastl.reporting.canvas import new_figure, shorten
from kerastl.reporting.fonts import Lettering, korean_fonts
from kerastl.reporting.scales import sort_values

# Okabe and Ito's colours without yellow and black, which rings and white paper hide.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P")
OTHER = "#c3c9d0"
# A legend of more names is a list to search, not one to look at.
MOST_NAMED = 18
_NAME_WIDTH = 22
_SIDE = 4.6
_MANY = 600
_LETTERS = 92
# Of two sides of a panel the shorter is at least this share of the longer.
_FLATTEST = 0.65
READING = {
    "pca": (
        "Distances are those of the features, seen from the one side that shows most: what "
        "overlaps here may lie apart in the rest."
    ),
    "tsne": (
        "Near points are alike. Distances between groups, their sizes and densities, and "
        "the two axes mean nothing."
    ),
}


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Where the images of a split lie, and what they were taken for.

    Args:
        points: float `(n, 2)`.
        labels: Name of each image's class.
        predicted: What was said of each.
        split: Name of the split.
        total: Images in the split, of which these are some.
        method: `"pca"` or `"tsne"`.
        explained: Shares of the variance that the two axes hold; empty for t-SNE.
    """

    points: np.ndarray
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    split: str
    total: int
    method: str = "pca"
    explained: tuple[float, ...] = ()

    @property
    def wrong(self) -> np.ndarray:
        """Bool `(n,)`: taken for another class."""
        return np.array(self.labels, object) != np.array(self.predicted, object)

    @property
    def caption(self) -> str:
        """One sentence: what is shown, and how much of it."""
        shown = len(self.points)
        drawn = "" if shown == self.total else f", drawn in proportion from {self.total:,}"
        noun = "image" if shown == 1 else "images"
        return f"{self.split}: {shown:,} {noun}{drawn}"


def plot_embedding(*maps: FeatureMap) -> Figure:
    """Draw maps of features side by side, their axes alike.

    A colour and a marker per class; images taken for another class are ringed. With more
    than 18 classes those of the most mistakes have colours and the rest is grey.

    Args:
        *maps: One or more, made by one method.

    Returns:
        The figure.

    Raises:
        UsageError: No map, or not one label and one answer per point.

    Example:

    >>> found = FeatureMap(np.zeros((2, 2)), ("a", "b"), ("a", "a"), "test", total=2)
    >>> [text.get_text() for text in plot_embedding(found).axes[0].get_legend().texts]
    ['a (1)', 'b (1)', 'taken for another (1)']
    """
    _check_maps(maps)
    named = choose_named(maps)
    with korean_fonts(map(_fit_name, named)) as lettering:
        window = _find_window(maps)
        figure = new_figure(*_measure(lettering, len(maps), window[1]))
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for ax, each in zip(panels, maps, strict=True):
            _draw_points(ax, each, named)
            _label_axes(ax, each)
            _set_limits(ax, window)
        _draw_legend(panels[-1], maps, named, lettering)
        _explain_below(figure, maps)
    return figure


def _fit_name(name: str) -> str:
    """Return a name cut in the middle: similar ones differ at their ends."""
    name = printable(name)
    if text_width(name) <= _NAME_WIDTH:
        return name
    end = name[-_NAME_WIDTH // 2 :]
    while text_width(end) > _NAME_WIDTH // 2:
        end = end[1:]
    return shorten(name, _NAME_WIDTH - text_width(end)) + end


def _explain_below(figure: Figure, maps: Sequence[FeatureMap]) -> None:
    lines = textwrap.wrap(READING[maps[0].method], _LETTERS * len(maps))
    look = {"fontsize": 7.5, "color": "#57606a", "ha": "left"}
    figure.supxlabel("\n".join(lines), x=0.02, **look)


def _check_maps(maps: Sequence[FeatureMap]) -> None:
    if not maps:
        raise UsageError("There is no map to draw: give at least one.")
    for each in maps:
        if not len(each.points) == len(each.labels) == len(each.predicted):
            raise UsageError(
                f"{len(each.points)} points with {len(each.labels)} labels and "
                f"{len(each.predicted)} answers: give one each."
            )


def choose_named(maps: Sequence[FeatureMap]) -> list[str]:
    """Return the classes that get a colour: all, or those that most mistakes are about.

    Args:
        maps: Of one run.

    Returns:
        At most 18 names, sorted, numbers in them by value, where all have one.

    Example:

    >>> labels = tuple(f"class {n:02}" for n in range(30))
    >>> found = FeatureMap(np.zeros((30, 2)), labels, (*labels[:-1], labels[3]), "test", 30)
    >>> choose_named([found])[:3]
    ['class 03', 'class 29', 'class 00']
    """
    sizes = Counter(label for each in maps for label in each.labels)
    if len(sizes) <= MOST_NAMED:
        return sort_values(sizes)
    mistakes: Counter[str] = Counter()
    for each in maps:
        for label, said in zip(each.labels, each.predicted, strict=True):
            if label != said:
                mistakes.update((label, said))
    ranked = sorted(sizes, key=lambda name: (-mistakes[name], -sizes[name], name))
    return ranked[:MOST_NAMED]


def _measure(lettering: Lettering, panels: int, sides: np.ndarray) -> tuple[float, float]:
    """Return width and height in inches with room for the legend's longest name."""
    longest = max([18, *map(text_width, lettering.names)]) + 7
    entries = len(lettering.names) + 3 + lettering.hint.count("\n")
    width, height = _SIDE * np.minimum(1, sides / sides[::-1])
    tall = max(height + 0.8, 0.19 * entries + 1)
    return width * panels + 0.075 * longest + 0.5, tall


def _draw_points(ax: Axes, each: FeatureMap, named: Sequence[str]) -> None:
    size = 14 if len(each.points) > _MANY else 26
    labels, points = np.array(each.labels, object), np.asarray(each.points)
    rest = ~np.isin(labels, named)
    look = {"s": size, "linewidths": 0.4, "edgecolors": "white", "alpha": 0.85}
    ax.scatter(*points[rest].T, color=OTHER, marker="o", **look)
    for colour, marker, name in _style(named):
        ax.scatter(*points[labels == name].T, color=colour, marker=marker, **look)
    ring = {"s": 2.6 * size, "facecolors": "none", "edgecolors": "black"}
    ax.scatter(*points[each.wrong].T, linewidths=0.8, **ring)


def _style(named: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield colour and marker per class; neighbours in the list differ in both."""
    for index, name in enumerate(named):
        turn = index // len(_COLOURS)
        colour = _COLOURS[index % len(_COLOURS)]
        yield colour, _MARKERS[(index + turn) % len(_MARKERS)], name


def _find_window(maps: Sequence[FeatureMap]) -> np.ndarray:
    """Return middle and half sides, `(2, 2)`, of what every panel shows."""
    points = np.concatenate([each.points for each in maps])
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.56 * np.maximum(high - low, 1e-6)
    return np.stack([(low + high) / 2, np.maximum(half, _FLATTEST * half.max())])


def _set_limits(ax: Axes, window: np.ndarray) -> None:
    """Show one part of the plane in every panel, to scale, so that distances are true."""
    low, high = window[0] - window[1], window[0] + window[1]
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")


def _label_axes(ax: Axes, each: FeatureMap) -> None:
    ax.set_title(each.caption, loc="left", fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#8c959f")
    if not each.explained:
        return
    texts = [
        f"{rank} component, {100 * share:.0f} % of the variance"
        for rank, share in zip(("1st", "2nd"), each.explained, strict=True)
    ]
    ax.set_xlabel(texts[0], fontsize=8)
    ax.set_ylabel(texts[1], fontsize=8)
    ax.yaxis.label.set_visible(ax.get_subplotspec().is_first_col())


def _draw_legend(
    ax: Axes, maps: Sequence[FeatureMap], named: Sequence[str], lettering: Lettering
) -> None:
    sizes = Counter(label for each in maps for label in each.labels)
    entries = [
        _mark(marker, f"{shown} ({sizes[name]:,})", color=colour)
        for (colour, marker, name), shown in zip(
            _style(named), lettering.names, strict=True
        )
    ]
    rest = [name for name in sizes if name not in set(named)]
    if rest:
        images = sum(sizes[name] for name in rest)
        text = f"{len(rest)} more classes ({images:,})"
        entries.append(_mark("o", text, color=OTHER))
    wrong = sum(int(each.wrong.sum()) for each in maps)
    if wrong:
        ring = {"markerfacecolor": "none", "markeredgecolor": "black"}
        entries.append(_mark("o", f"taken for another ({wrong:,})", **ring))
    look = {"fontsize": 8, "frameon": False, "handletextpad": 0.3, "labelspacing": 0.35}
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
    legend = ax.legend(handles=entries, title=lettering.hint or None, **look, **place)
    legend.get_title().set_fontsize(7)


def _mark(marker: str, text: str, **look: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, markersize=5.5, label=text, **look)
