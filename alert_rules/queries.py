"""One function per question, answered in PromQL. Rules and dashboards ask the same questions here.

``by`` are the labels of the answer, ``window`` a PromQL duration, and ``where`` are further label matchers.
Series come from pushes that carry a sample only when there was a call: an idle series is absent, not zero, and
``increase`` of few samples is an estimate. That is why some answers below fill in zeros, and say from what.
"""

from __future__ import annotations

from nightlight import conventions as c

BY_MODEL = (*c.RESOURCE_LABELS, c.MODEL_LABEL)
BY_SERVICE = c.RESOURCE_LABELS

COUNTED = f'{c.OUTCOME_LABEL}!="cancelled"'  # a caller who hung up says nothing about the provider
FAILED = f'{c.OUTCOME_LABEL}="error"'
ANSWERED = f'{c.OUTCOME_LABEL}!~"error|cancelled"'  # an instant 429 would make a slow provider look fast
NOT_ANSWERED_AS_ASKED = f'{c.OUTCOME_LABEL}=~"error|refused|filtered"'

MINUTES_PER_WEEK = 7 * 24 * 60


def labels(names: tuple[str, ...]) -> str:
    """A label list as `by (...)` and legends want it."""
    return ", ".join(names)


def select(metric: c.Metric, *where: str) -> str:
    """The metric's series, narrowed by matchers."""
    return f"{metric.series}{{{', '.join(where)}}}" if where else metric.series


def request_rate(by: tuple[str, ...], window: str, *where: str) -> str:
    """How many calls a second are there?"""
    return f"sum by ({labels(by)}) (rate({select(c.REQUESTS, *where)}[{window}]))"


def request_count(by: tuple[str, ...], window: str, *where: str) -> str:
    """How many calls ended, not counting the cancelled?"""
    return f"sum by ({labels(by)}) (increase({select(c.REQUESTS, COUNTED, *where)}[{window}]))"


def error_count(by: tuple[str, ...], window: str, *where: str) -> str:
    """How many calls failed?"""
    return f"sum by ({labels(by)}) (increase({select(c.REQUESTS, FAILED, *where)}[{window}]))"


def ratio(part: str, whole: str) -> str:
    """What share is the part, which may be absent where the whole is not? That is a share of 0, not an unknown one."""
    return f"({part} or 0 * {whole}) / {whole}"


def error_ratio(by: tuple[str, ...], window: str, *where: str) -> str:
    """What share of the calls failed?"""
    return ratio(error_count(by, window, *where), request_count(by, window, *where))


def latency_quantile(quantile: float, by: tuple[str, ...], window: str, *where: str) -> str:
    """Within how many seconds are this many of the calls answered?"""
    rate = f"sum by ({labels(by)}) (rate({select(c.REQUEST_DURATION, ANSWERED, *where)}[{window}]))"
    return f"histogram_quantile({quantile}, {rate})"


def answered_count(by: tuple[str, ...], window: str, *where: str) -> str:
    """How many calls does a latency quantile rest on?"""
    increase = f"sum by ({labels(by)}) (increase({select(c.REQUEST_DURATION, ANSWERED, *where)}[{window}]))"
    return f"histogram_count({increase})"


def spend_rate(by: tuple[str, ...], window: str, *where: str) -> str:
    """How many US dollars a second are spent?"""
    return f"sum by ({labels(by)}) (rate({select(c.COST, *where)}[{window}]))"


def usd_per_hour(usd_per_second: str) -> str:
    """The same in the unit people think in."""
    return f"3600 * {usd_per_second}"


def unpriced_count(window: str, *where: str) -> str:
    """How many calls have an unknown cost? Zero only where there were calls at all."""
    unpriced = f"sum(increase({select(c.UNPRICED_REQUESTS, *where)}[{window}]))"
    return f"{unpriced} or 0 * sum(increase({select(c.REQUESTS, *where)}[{window}]))"


def same_hour_median(hourly: str, by: tuple[str, ...], weeks: int) -> str:
    """What was usual at this hour of the week, in the last weeks?

    The hour is centred on now: half an hour less than whole weeks ago. Without ``label_replace`` the weeks would
    carry equal labels, and `or` would keep only the first.
    """
    one_per_week = "\n  or ".join(
        f'label_replace({hourly} offset {week * MINUTES_PER_WEEK - 30}m, "week", "{week}", "", "")'
        for week in range(1, weeks + 1)
    )
    return f"quantile by ({labels(by)}) (0.5,\n  {one_per_week}\n)"
