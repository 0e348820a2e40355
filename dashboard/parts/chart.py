"""Charts as ECharts options: plain data, cheap to send every two seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from risk.decision import RiskOutcome

JADE, AMBER, BLUE, RED, GREY = "#12997f", "#e3a72f", "#5b7fdb", "#d64a5e", "#8b9894"
OUTCOME_COLORS: Mapping[RiskOutcome, str] = {
    RiskOutcome.APPROVE: JADE,
    RiskOutcome.CHALLENGE: AMBER,
    RiskOutcome.REVIEW: BLUE,
    RiskOutcome.DECLINE: RED,
}
Option = dict[str, Any]

# Half transparent, so that it can be seen on white and on black.
_GRID_LINE = {"lineStyle": {"color": "rgba(128,140,136,0.22)"}}


def _base(times: Sequence[str], names: Sequence[str]) -> Option:
    return {
        "animation": False,
        "grid": {"left": 8, "right": 12, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "itemWidth": 12, "itemHeight": 8, "data": list(names)},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": list(times), "axisTick": {"show": False}},
        "yAxis": {"type": "value", "splitLine": _GRID_LINE},
    }


def stacked_bars(times: Sequence[str], series: Sequence[tuple[str, str, Sequence[int]]]) -> Option:
    """Draw counts on top of each other.

    Args:
        times: Label of each place on the x axis.
        series: Name, colour and one value for each time; the first is at the bottom.
    """
    option = _base(times, [name for name, _, _ in series])
    option["series"] = [
        {
            "name": name,
            "type": "bar",
            "stack": "all",
            "barCategoryGap": "18%",
            "itemStyle": {"color": color},
            "data": list(values),
        }
        for name, color, values in series
    ]
    return option


def lines(
    times: Sequence[str],
    series: Sequence[tuple[str, str, Sequence[float | None]]],
    *,
    unit: str = "",
    y_max: float | None = None,
) -> Option:
    """Draw values over time; a missing value leaves a gap.

    Args:
        times: Label of each place on the x axis.
        series: Name, colour and one value for each time.
        unit: Written behind the numbers of the y axis.
        y_max: Upper end of the y axis; None: as the data needs.
    """
    option = _base(times, [name for name, _, _ in series])
    option["xAxis"]["boundaryGap"] = False
    option["yAxis"] |= {"min": 0, "axisLabel": {"formatter": f"{{value}}{unit}"}}
    if y_max is not None:
        option["yAxis"]["max"] = y_max
    option["series"] = [
        {
            "name": name,
            "type": "line",
            "showSymbol": len(times) == 1,
            "lineStyle": {"width": 2},
            "itemStyle": {"color": color},
            "data": [None if value is None else round(value, 2) for value in values],
        }
        for name, color, values in series
    ]
    return option


def histogram(labels: Sequence[str], counts: Sequence[int], colors: Sequence[str]) -> Option:
    """Draw counts by class on a logarithmic axis, since most payments are alike.

    Args:
        labels: Name of each class.
        counts: How many are in it; nothing is drawn for 0.
        colors: Colour of each bar.
    """
    option = _base(labels, [])
    del option["legend"]
    option["grid"]["top"] = 12
    option["yAxis"] |= {"type": "log", "min": 0.5, "axisLabel": {"formatter": "{value}"}}
    option["yAxis"]["minorSplitLine"] = {"show": False}
    option["series"] = [
        {
            "type": "bar",
            "barCategoryGap": "12%",
            "data": [
                {"value": count or None, "itemStyle": {"color": color}}
                for count, color in zip(counts, colors, strict=True)
            ],
        }
    ]
    # A logarithmic axis would name 0.5, which is no count.
    option["yAxis"]["axisLabel"] = {"showMinLabel": False}
    return option


def contributions(parts: Sequence[tuple[str, float]]) -> Option:
    """Draw what raised a score (red, right) and what lowered it (green, left), strongest on top.

    Args:
        parts: Name and share in the log-odds.
    """
    ordered = list(reversed(parts))
    return {
        "animation": False,
        "grid": {"left": 8, "right": 40, "top": 4, "bottom": 4, "containLabel": True},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "value", "splitLine": _GRID_LINE},
        "yAxis": {
            "type": "category",
            "data": [name for name, _ in ordered],
            "axisTick": {"show": False},
            "axisLabel": {"width": 190, "overflow": "truncate"},
        },
        "series": [
            {
                "type": "bar",
                "barMaxWidth": 18,
                "label": {"show": True, "position": "right", "formatter": "{c}"},
                "data": [
                    {"value": round(value, 3), "itemStyle": {"color": RED if value > 0 else JADE}}
                    for _, value in ordered
                ],
            }
        ],
    }
