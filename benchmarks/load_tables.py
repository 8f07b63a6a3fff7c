"""How a load's figures are written: the live line, the table at the end, the JSON document. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from yarl import URL

from benchmarks.digits import rounded
from benchmarks.load_figures import ALL, QUANTILES, quantiles_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.load_client import OpenLoop, Target
    from benchmarks.load_figures import Figures
    from benchmarks.load_plan import Mix, Schedule


def progress(load: OpenLoop, schedule: Schedule) -> str:
    """One line: how far, how fast, how well."""
    figures = load.figures
    share = figures.observed_share()
    parts = [
        f"{min(load.elapsed_s, schedule.duration_s):.0f}/{schedule.duration_s:g} s",
        f"sent {load.sent:,}",
        f"in flight {load.in_flight:,}",
        f"failed {figures.failed:,}",
    ]
    if figures.seconds:
        last = figures.seconds[-1]
        parts.insert(1, f"{last.answers:,}/s")
        slowest = max((p99 for _, _, p99 in last.paths.values()), default=0.0)
        parts.append(f"p99 {slowest:.1f} ms")
    if share is not None:
        parts.append(f"v2 {share:.1%}")
    if figures.fell_behind(load.due, load.sent):
        parts.append("this generator is behind")
    return "  ".join(parts)


def summary(load: OpenLoop, schedule: Schedule) -> Iterator[Table | str]:
    """What is printed at the end."""
    figures = load.figures
    yield _table(figures)
    took_s = schedule.duration_s if not load.ended_early else min(load.elapsed_s, schedule.duration_s)
    yield (
        f"{load.sent:,} sent in {took_s:.1f} s ({load.sent / max(took_s, 1e-9):,.1f}/s), "
        f"{figures.failed:,} failed ({figures.error_rate:.2%})"
    )
    if load.ended_early:
        yield f"[yellow]ended early;[/] {load.sent - figures.count:,} in flight were given up"
    if figures.statuses:
        yield f"statuses: {_statuses(figures)}"
    if figures.errors:
        yield "errors: " + ", ".join(f"{kind} {count:,}" for kind, count in figures.errors.most_common())
    share = figures.observed_share()
    yield "no answer told its path (listen.expose_path)" if share is None else f"v2 answered {share:.2%}"
    middle, late = figures.lag_s(0.5) * 1e3, figures.lag_s(0.99) * 1e3
    lag = f"requests left late by {middle:.1f} ms (p50) and {late:.1f} ms (p99), which the latencies include"
    if figures.fell_behind(load.due, load.sent):
        yield f"[yellow]this generator could not keep up:[/] {lag}; lower --rate, or run several"
    else:
        yield lag


def _table(figures: Figures) -> Table:
    table = Table(title="latency in ms from the moment a request was due", title_justify="left")
    table.add_column("path", no_wrap=True)
    for column in ("requests", *QUANTILES):
        table.add_column(column, justify="right", no_wrap=True)
    for path, one in figures.latencies().items():
        values = (f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}" for ms in quantiles_ms(one).values())
        table.add_row(path, f"{one.count:,}", *values, style="bold" if path == ALL else "")
    return table


def _statuses(figures: Figures) -> str:
    """ "v1 2xx 80; v2 2xx 17, 5xx 3"."""
    return "; ".join(
        f"{path} " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        for path, counts in sorted(figures.statuses.items())
    )


def document(load: OpenLoop, schedule: Schedule, target: Target, mix: Mix) -> object:
    """All of it as plain JSON values. Holds no password of the URL and none of the header fields."""
    figures = load.figures
    return rounded(
        {
            "options": {
                "url": str(URL(target.url).with_user(None)),
                "rate": schedule.rate,
                "duration_s": schedule.duration_s,
                "ramp_s": schedule.ramp_s,
                "users": target.users,
                "mix": dict(zip(mix.methods, mix.weights, strict=True)),
                "body_bytes": len(target.body),
                "connections": target.connections,
                "timeout_s": target.timeout_s,
            },
            "ended_early": load.ended_early,
            "sent": load.sent,
            "counted": figures.count,
            "failed": figures.failed,
            "error_rate": figures.error_rate,
            "errors": dict(figures.errors),
            "v2_share": figures.observed_share(),
            "own_lag_ms": {"p50": figures.lag_s(0.5) * 1e3, "p99": figures.lag_s(0.99) * 1e3},
            "fell_behind": figures.fell_behind(load.due, load.sent),
            "paths": {
                path: {
                    "requests": one.count,
                    "statuses": dict(figures.statuses.get(path, {})),
                    "latency_ms": quantiles_ms(one),
                }
                for path, one in figures.latencies().items()
            },
            "seconds": [
                {
                    "at": second.at,
                    "answers": second.answers,
                    "failed": second.failed,
                    "paths": {
                        path: {"answers": count, "p50_ms": p50, "p99_ms": p99}
                        for path, (count, p50, p99) in second.paths.items()
                    },
                }
                for second in figures.seconds
            ],
        }
    )
