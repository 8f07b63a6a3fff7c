"""The sinks and silences that a configuration asks for.

Owns which implementation stands behind a sink's kind. Must never know a notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config.alert_checks import read_secret
from proxy.config.alerts import PAGERDUTY
from proxy.core.alert_book import Silence
from proxy.telemetry.alerts.callback import CallbackSink, function_at
from proxy.telemetry.alerts.mail import MailSink
from proxy.telemetry.alerts.sinks import HookSink, LogSink, PagerDutySink, SlackSink, WebhookSink

if TYPE_CHECKING:
    from proxy.config.alerts import Sink as SinkTable
    from proxy.config.schema import Config
    from proxy.ports import Clock, Post
    from proxy.telemetry.alerts.sinks import Sink


def sinks_of(config: Config, post: Post, clock: Clock) -> dict[str, tuple[str, Sink]]:
    """Every sink by name, with its kind. Raises `ConfigError`: a file of a secret, a function."""
    return {
        table.name: (table.kind, _sink(table, f"alerts.sinks.{index}", post, clock))
        for index, table in enumerate(config.alerts.sinks)
    }


def hooks_of(config: Config, post: Post, clock: Clock) -> dict[str, Sink]:
    """Every hook that tells what has happened, by name. Raises `ConfigError` for a file of a secret."""
    return {
        hook.name: HookSink(
            hook, read_secret(hook.secret, hook.secret_file, f"hooks.{index}.secret_file"), post, clock
        )
        for index, hook in enumerate(config.hooks)
        if any(not event.startswith("before_") for event in hook.on)
    }


def silences_of(config: Config) -> tuple[Silence, ...]:
    """The configuration's own silences."""
    return tuple(
        Silence(
            f"config-{index}",
            table.begins_at,
            table.ends_at,
            table.alerts,
            table.rollouts,
            reason=table.reason,
        )
        for index, table in enumerate(config.alerts.silences)
    )


def _sink(table: SinkTable, at: str, post: Post, clock: Clock) -> Sink:
    match table.kind:
        case "log":
            return LogSink(table)
        case "webhook":
            return WebhookSink(table, _secret(table, at), post, clock)
        case "slack":
            return SlackSink(table, post)
        case "pagerduty":
            return PagerDutySink(table, _secret(table, at) or "", table.url or PAGERDUTY, post)
        case "email":
            return MailSink(table, read_secret(table.password, table.password_file, f"{at}.password_file"))
        case "callback":
            return CallbackSink(table, function_at(str(table.call), f"{at}.call"))


def _secret(table: SinkTable, at: str) -> str | None:
    return read_secret(table.secret, table.secret_file, f"{at}.secret_file")
