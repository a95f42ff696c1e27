"""How the report's charts look, as Vega-Lite through Altair.

Colour is the backend and shape is the precision in every chart. Text, grid
and background colours are left to the page's style sheet, which knows whether
the reader wants light or dark.
"""

import math
from typing import Any, TypeVar

import altair as alt

Row = dict[str, Any]
Layers = alt.LayerChart | alt.FacetChart

_Axis = TypeVar("_Axis", alt.X, alt.Y)

_COLORS = {"jax": "#3b7fc4", "torch": "#dd6b20", "tensorflow": "#159a80"}
_SHAPES = {"float32": "circle", "mixed_bfloat16": "diamond"}
_NEUTRAL = "#8a93a3"
_FORMAT = ",.3r"
_STEP = 15
_MARGIN = 1.12
_DASHES = [[1, 0], [5, 3], [2, 2], [8, 3, 2, 3]]
_COMPILED = ("xla", "compile")


def dots(
    rows: list[Row], y: str, offset: str, title: str, zero: bool = False
) -> Layers:
    """Medians as points, intervals as lines; a group of lines per `y`."""
    base = _rows(rows, y, offset).encode(
        color=_color(rows),
        tooltip=[
            *_names("batch" in rows[0]),
            alt.Tooltip("median:Q", format=_FORMAT),
            alt.Tooltip("low:Q", format=_FORMAT),
            alt.Tooltip("high:Q", format=_FORMAT),
        ],
    )
    x = alt.X("low:Q", title=title, scale=alt.Scale(zero=zero))
    x = x.axis(format="~s", tickCount=5)
    lines = base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q")
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x="median:Q", shape=_shape(rows)
    )
    return alt.layer(lines, points)


def scatter(rows: list[Row]) -> alt.Chart:
    """Compile seconds against milliseconds per step, both logarithmic.

    Args:
        rows: with `step`, `seconds` and, above zero, `shown`.
    """
    return (
        alt.Chart(alt.Data(values=rows), height=280)
        .mark_point(filled=True, size=70, opacity=0.85)
        .encode(
            x=_log(
                alt.X("step:Q", title="ms per step"),
                [row["step"] for row in rows],
            ),
            y=_log(
                alt.Y("shown:Q", title="compile seconds"),
                [row["shown"] for row in rows],
            ),
            color=_color(rows),
            shape=_shape(rows),
            tooltip=[
                *_names(),
                alt.Tooltip("step:Q", title="ms per step", format=_FORMAT),
                alt.Tooltip("seconds:Q", title="compile s", format=_FORMAT),
            ],
        )
    )


def rule(value: float) -> alt.Chart:
    """A dashed vertical line."""
    return (
        alt.Chart(alt.Data(values=[{"rule": value}]))
        .mark_rule(strokeDash=[4, 3], strokeWidth=1.5, color=_NEUTRAL)
        .encode(x="rule:Q")
    )


def bars(rows: list[Row], title: str) -> alt.Chart:
    """The `size` of each cell."""
    return (
        _rows(rows, "cell", "precision")
        .mark_bar()
        .encode(
            x=alt.X("size:Q", title=title).axis(tickCount=5),
            color=_color(rows),
            opacity=alt.Opacity(
                "precision:O",
                sort=None,
                scale=alt.Scale(range=[1.0, 0.55]),
                legend=alt.Legend(title=None),
            ),
            tooltip=[
                *_names(batch=False),
                alt.Tooltip("size:Q", title=title, format=_FORMAT),
            ],
        )
    )


def curves(
    rows: list[Row],
    x: tuple[str, str],
    y: tuple[str, str],
    points: bool = False,
    decades: bool = False,
) -> Layers:
    """One line per variant, both axes logarithmic.

    Args:
        rows: with the two fields, above zero.
        x: field and title of the horizontal axis.
        y: field and title of the vertical axis.
        points: whether to mark each row.
        decades: whether the axes span whole powers of ten; else they are
            tight, and the horizontal one has a tick for each value.
    """
    xs, ys = ([row[field] for row in rows] for field in (x[0], y[0]))
    across = alt.X(f"{x[0]}:Q", title=x[1])
    up = alt.Y(f"{y[0]}:Q", title=y[1])
    base = _colored(rows).encode(
        x=_log(across, xs) if decades else _tight(across, xs, sorted(set(xs))),
        y=_log(up, ys) if decades else _tight(up, ys),
        tooltip=[
            *_names(),
            *(alt.Tooltip(f"{f}:Q", format=_FORMAT) for f, _ in (x, y)),
        ],
    )
    layers = [_dashed(base.mark_line(), rows)]
    if points:
        dots = base.mark_point(filled=True, size=45, opacity=1)
        layers.append(dots.encode(shape=_shape(rows)))
    return alt.layer(*layers)


def crossings(rows: list[Row], all_rows: list[Row]) -> alt.Chart:
    """Points where a line of `curves` crosses that of the first variant.

    Args:
        rows: the points, with `steps` and `total`.
        all_rows: those of the lines, whose colours and shapes count.
    """
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, size=60, opacity=1)
        .encode(
            x="steps:Q",
            y="total:Q",
            color=_color(all_rows),
            shape=_shape(all_rows),
            tooltip=[
                *_names(),
                alt.Tooltip("steps:Q", title="break-even", format=",.0f"),
                alt.Tooltip("total:Q", title="seconds", format=_FORMAT),
            ],
        )
    )


def rounds(rows: list[Row]) -> Layers:
    """Time per step over the rounds; outliers have a ring."""
    times = [row["step"] for row in rows]
    last = max(row["round"] for row in rows)
    base = _colored(rows).encode(
        x=alt.X(
            "round:Q", scale=alt.Scale(domain=[1, max(last, 2)], nice=False)
        ).axis(tickMinStep=1, format="d"),
        y=_tight(alt.Y("step:Q", title="ms per step"), times),
        tooltip=[
            *_names(),
            alt.Tooltip("round:Q"),
            alt.Tooltip("step:Q", title="ms per step", format=_FORMAT),
        ],
    )
    return alt.layer(
        _dashed(base.mark_line(), rows),
        base.mark_point(filled=True, size=12, opacity=1),
        base.transform_filter("datum.outlier").mark_point(size=90),
    )


def _colored(rows: list[Row]) -> alt.Chart:
    return alt.Chart(alt.Data(values=rows), height=280).encode(
        color=_color(rows)
    )


def _dashed(lines: alt.Chart, rows: list[Row]) -> alt.Chart:
    """Tells the variants apart: dashes are the precision.

    Where a backend ran in several modes, the compiled ones are thicker.
    """
    legend = alt.Legend(title=None, symbolType="stroke")
    modes, precisions = (_distinct(rows, f) for f in ("mode", "precision"))
    dashes = alt.Scale(domain=precisions, range=_DASHES[: len(precisions)])
    lines = lines.encode(
        strokeDash=alt.StrokeDash(
            "precision:N", sort=None, scale=dashes, legend=legend
        ),
    )
    if len(_distinct(rows, "cell")) == len(_distinct(rows, "backend")):
        return lines
    widths = alt.Scale(
        type="ordinal",
        domain=modes,
        range=[2.5 if mode in _COMPILED else 1.2 for mode in modes],
    )
    return lines.encode(
        strokeWidth=alt.StrokeWidth(
            "mode:O", sort=None, scale=widths, legend=legend
        )
    )


def _rows(rows: list[Row], y: str, offset: str) -> alt.Chart:
    """A chart with a group of rows per `y`, each with one row per `offset`."""
    groups = len(_distinct(rows, y))
    lines = len(_distinct(rows, offset))
    gap = alt.Scale(paddingInner=0.25, paddingOuter=0.15)
    return alt.Chart(
        alt.Data(values=rows), height=_STEP * groups * (lines + 1)
    ).encode(
        y=alt.Y(f"{y}:N", title=None, sort=None, scale=gap),
        yOffset=alt.YOffset(f"{offset}:N", sort=None),
    )


def _names(batch: bool = True) -> list[alt.Tooltip]:
    fields = ["workload:N", "backend:N", "mode:N", "precision:N"]
    return [alt.Tooltip(f) for f in fields + ["batch:Q"] * batch]


def _color(rows: list[Row]) -> alt.Color:
    shown = _distinct(rows, "backend")
    scale = alt.Scale(
        domain=shown, range=[_COLORS.get(name, _NEUTRAL) for name in shown]
    )
    return alt.Color("backend:N", scale=scale, legend=alt.Legend(title=None))


def _shape(rows: list[Row]) -> alt.Shape:
    shown = _distinct(rows, "precision")
    scale = alt.Scale(
        domain=shown, range=[_SHAPES.get(name, "square") for name in shown]
    )
    legend = alt.Legend(title=None)
    return alt.Shape("precision:N", scale=scale, legend=legend)


def _distinct(rows: list[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))


def _log(axis: _Axis, values: list[float]) -> _Axis:
    """A logarithmic axis over the whole powers of ten around the values."""
    first = math.floor(math.log10(min(values)))
    last = max(math.ceil(math.log10(max(values))), first + 1)
    powers = [10.0**power for power in range(first, last + 1)]
    return axis.scale(type="log", domain=[powers[0], powers[-1]]).axis(
        format="~s" if powers[0] >= 1 else "~g", values=powers
    )


def _tight(
    axis: _Axis, values: list[float], counts: list[int] | None = None
) -> _Axis:
    """A logarithmic axis that ends just beyond the values.

    Its ticks are `counts`, or else round numbers.
    """
    low, high = min(values) / _MARGIN, max(values) * _MARGIN
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [
        tick
        for power in powers
        for factor in (1, 1.5, 2, 3, 5, 7)
        if low <= (tick := factor * 10.0**power) <= high
    ]
    return axis.scale(type="log", domain=[low, high], nice=False).axis(
        format=",d" if counts else "~s" if low >= 1 else "~g",
        values=counts or ticks,
    )


def specification(chart: alt.Chart | Layers) -> dict[str, Any]:
    """The chart as a Vega-Lite object that fills its container's width."""
    config = alt.Config(
        background="transparent",
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelLimit=150,
            labelOverlap="greedy",
            labelSeparation=8,
        ),
        legend=alt.LegendConfig(
            orient="top",
            labelFontSize=11,
            offset=4,
            symbolBaseFillColor=_NEUTRAL,
            symbolBaseStrokeColor=_NEUTRAL,
        ),
    )
    content = chart.properties(width="container", config=config).to_dict()
    # Altair's schema lacks this Vega option: one line for each legend, so
    # that they fit a narrow screen.
    content["config"]["legend"]["layout"] = {
        "top": {"direction": "vertical", "margin": 3}
    }
    return content
