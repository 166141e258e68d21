"""Every number an operator may change: the unit in its name, the reason beside it.

Durations are PromQL strings, so they carry their unit. Alerts and dashboards read the same constants; after a
change run `make generate`. "Bench" below means simulated months of traffic with injected incidents, on which some
120 candidate rules were scored for recall, delay and false alarms.
"""

from __future__ import annotations

from typing import Final

# --- How often rules are evaluated -----------------------------------------------------------------------------------

ALERT_INTERVAL: Final = "15s"  # a page should not wait for the clock, and these comparisons are cheap
WINDOW_INTERVAL: Final = "15s"  # feeds the alerts; every layer adds up to its own interval of delay
BASELINE_INTERVAL: Final = "1m"  # an hour moves slowly; at 5m, Prometheus' look-back, one late sample leaves a hole

# --- Errors ----------------------------------------------------------------------------------------------------------

# Users notice. Well above the 0.3 % at which the bench's healthy providers failed.
ERROR_RATIO_LIMIT: Final = 0.02
# Beyond what chance does to so many calls (binomial). Bench: at most 0.2 false alarms a month per model, where "over
# 2 % of at least 20 calls" had 400.
ERROR_CONFIDENCE_SIGMAS: Final = 3
# With fewer failures the normal approximation to the binomial is worth nothing.
ERRORS_MIN_COUNT: Final = 5
# The long window gives confidence: at 30 calls a minute it sees an 8 % brown-out after five minutes.
ERROR_WINDOW: Final = "10m"
# The short window gives a quick reset (SRE workbook, multi-window alerts): the long one alone stays over the limit
# until the incident has left it, ten minutes after the fact.
ERROR_RESET_WINDOW: Final = "2m"
# What proves recovery: 60 calls without failure exclude a rate above 5 % (rule of three). Fewer prove nothing, and the
# long window decides. Simulated 8 % brown-out at 30 calls a minute: 1.1 episodes per incident, 1.4 without this.
ERROR_RESET_MIN_CALLS: Final = 60
# Bridges one lucky short window. There is no `for`: the counts above already debounce.
ERROR_KEEP_FIRING_FOR: Final = "2m"

# --- Latency ---------------------------------------------------------------------------------------------------------

# The tail that users complain about; p99 would need five times the calls.
LATENCY_QUANTILE: Final = 0.95
# Catches a true doubling through the noise. At LATENCY_MIN_CALLS an estimate of p95 varies by 12 %, so "over 2" sees
# every second doubling and 1.7 nine in ten, while an unchanged p95 is six deviations away. The native histogram's own
# error (4 % wide buckets) is no reason: with classic buckets, 33 % wrong, this number would have to stay the same.
LATENCY_RATIO_LIMIT: Final = 1.7
# Long enough for LATENCY_MIN_CALLS at 10 a minute.
LATENCY_WINDOW: Final = "10m"
# Long enough to be steady, short enough to follow the day.
LATENCY_BASELINE_WINDOW: Final = "1h"
# More than LATENCY_WINDOW, or the incident would raise its own baseline.
LATENCY_BASELINE_OFFSET: Final = "15m"
# The p95 of 20 calls varies by 25 %, which on the bench was 44 false alarms a month; of 100 calls by 12 %, 1.3.
LATENCY_MIN_CALLS: Final = 100
# The baseline must be steadier than what is compared with it.
LATENCY_BASELINE_MIN_CALLS: Final = 200
# One window: a p95 that wavers about the limit is one incident.
LATENCY_KEEP_FIRING_FOR: Final = "10m"

# --- Spend -----------------------------------------------------------------------------------------------------------

# Bench: at 3 up to 2.4 false alarms a month, at 2 up to 15; either finds every fivefold spend within 20 minutes.
SPEND_RATIO_LIMIT: Final = 3
# Of the weekly mean rate, because three times nothing is nothing. A share, not dollars, suits services of any size.
SPEND_EXCESS_LIMIT: Final = 0.7
# Smooths single expensive calls ...
SPEND_WINDOW: Final = "15m"
# ... and every slice of this long must be high, so that one call of $15 pages nobody.
SPEND_PERSISTENCE: Final = "15m"
# Spend has a weekly rhythm: on the bench, "three times the hour before" paged on every busy morning.
SPEND_BASELINE_WINDOW: Final = "1h"
# The median of four weeks survives a holiday or an incident; their mean and deviation do not (112 false alarms).
SPEND_BASELINE_WEEKS: Final = 4
# A week and an hour. In the first week there is nothing to compare with, and the first hour of a service's life,
# being only part of an hour, would be a baseline too low.
SPEND_MIN_HISTORY: Final = "169h"
# One window: spend that pulses is one incident.
SPEND_KEEP_FIRING_FOR: Final = "15m"

# --- Boards ----------------------------------------------------------------------------------------------------------

UNPRICED_LIMIT_CALLS: Final = 1  # one call of unknown cost makes every sum on the board a lower bound
SLOW_CALL_SECONDS: Final = 10  # the classic limit of a waiting person's attention; chooses the traces to show

# --- Storage ---------------------------------------------------------------------------------------------------------

PROMETHEUS_RETENTION_DAYS: Final = 45  # the baseline looks back four weeks; Prometheus keeps 15 days by default
