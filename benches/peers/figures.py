"""What each client measures, and how it says so: one line of JSON."""

import json
from statistics import median

SECONDS = 0.7
SIZE = 16_000_000
FLOOD = 20_000


def print_figures(calls, large=None, notifications=None):
    """`calls`: seconds of single calls and calls a second, by how many are outstanding."""
    figures = {f"calls_{n}": rate for n, (_, rate) in calls.items()}
    figures["p50_us"] = median(calls[1][0]) * 1e6
    if large:
        figures["large_ms"] = median(large) * 1e3
        figures["notifications"] = notifications
    print(json.dumps(figures))
