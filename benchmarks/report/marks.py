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


def dots(rows: list[Row], y: str, offset: str, title: str) -> Layers:
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
    x = alt.X("low:Q", title=title, scale=alt.Scale(zero=False))
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


def bars(rows: list[Row]) -> alt.Chart:
    """Peak memory of each cell."""
    return (
        _rows(rows, "cell", "precision")
        .mark_bar()
        .encode(
            x=alt.X("size:Q", title="MiB").axis(tickCount=5),
            color=_color(rows),
            opacity=alt.Opacity(
                "precision:O",
                sort=None,
                scale=alt.Scale(range=[1.0, 0.55]),
                legend=alt.Legend(title=None),
            ),
            tooltip=[
                *_names(batch=False),
                alt.Tooltip("size:Q", title="MiB", format=",.0f"),
            ],
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
        format="~g", values=powers
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
