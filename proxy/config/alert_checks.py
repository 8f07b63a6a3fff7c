"""What contradicts itself among alerts and hooks, although every key by itself is sound.

Each check yields (dotted path, message), and is silent about a value that did not validate. Must never know
where values came from, and opens no file but those that hold secrets, which `problems_of_secret_files` reads.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from proxy.config.fields import takes_rate
from proxy.config.table import FaultyAttributeError
from proxy.config.units import format_duration
from proxy.errors import ConfigError
from proxy.judgment import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.alerts import AlertRule, Hook, Silence, Sink
    from proxy.config.faults import Problem
    from proxy.config.schema import Config

_LONGEST_WINDOW_S: Final = 3600.0
_LONGEST_SECRET: Final = 4096

_NEEDS: Final = {
    "log": (),
    "webhook": ("url",),
    "slack": ("url",),
    "pagerduty": ("secret",),
    "email": ("server", "sender", "to"),
    "callback": ("call",),
}
_MAY: Final = {
    "log": (),
    "webhook": ("secret", "secret_file"),
    "slack": (),
    "pagerduty": ("url", "secret_file"),
    "email": ("tls", "username", "password", "password_file"),
    "callback": (),
}
_OF_KINDS: Final = tuple(
    dict.fromkeys(key for table in (_NEEDS, _MAY) for keys in table.values() for key in keys)
)
_IN_FILE: Final = {"sender": "from"}


def alerts_agree(config: Config) -> Iterator[Problem]:
    """Everything that contradicts itself in `[alerts]` and `[[hooks]]`. `config` may be in parts."""
    for check in (_rules, _sinks, _silences, _hooks):
        with suppress(FaultyAttributeError):
            yield from check(config)


def read_secret(given: str | None, file: str | None, at: str) -> str | None:
    """A secret, from its key or its file. Raises `ConfigError` for a file that holds none."""
    if file is None:
        return given
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read(_LONGEST_SECRET + 1).strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise ConfigError([(at, f"{file} cannot be read: {why}")]) from None
    if not text or len(text) > _LONGEST_SECRET or not text.isprintable():
        raise ConfigError([(at, f"{file} must hold one line of text")])
    return text


def problems_of_secret_files(config: Config) -> Iterator[Problem]:
    """Every file of a secret that cannot be used. `config` may be in parts."""
    with suppress(FaultyAttributeError):
        for index, sink in enumerate(config.alerts.sinks):
            yield from _unreadable(f"alerts.sinks.{index}", sink, ("secret_file", "password_file"))
    with suppress(FaultyAttributeError):
        for index, hook in enumerate(config.hooks):
            yield from _unreadable(f"hooks.{index}", hook, ("secret_file",))


def _unreadable(at: str, table: Sink | Hook, keys: Sequence[str]) -> Iterator[Problem]:
    for key in keys:
        try:
            read_secret(None, table.__dict__.get(key), f"{at}.{key}")
        except ConfigError as error:
            yield from error.problems


# ... rules


def _rules(config: Config) -> Iterator[Problem]:
    yield from _twins("alerts.rules", config.alerts.rules)
    for index, rule in enumerate(config.alerts.rules):
        for check in (_has_one_limit, _can_fire, _window_fits, _clears):
            with suppress(FaultyAttributeError):
                yield from check(f"alerts.rules.{index}", rule)


def _has_one_limit(at: str, rule: AlertRule) -> Iterator[Problem]:
    if rule.above is not None and rule.below is not None:
        yield at, "takes either above or below, not both"
    elif rule.above is None and rule.below is None:
        yield at, "needs a limit: above or below"
    elif rule.metric is Metric.HEALTH and rule.above is not None:
        yield f"{at}.above", "must be below for health, which falls when endpoints fail"


def _can_fire(at: str, rule: AlertRule) -> Iterator[Problem]:
    if rule.above is not None and rule.above >= 1 and takes_rate(rule.metric):
        yield f"{at}.above", f"can never fire: {rule.metric} is never above 1"
    if rule.below is not None and rule.below <= 0:
        yield f"{at}.below", f"can never fire: {rule.metric} is never below 0"


def _window_fits(at: str, rule: AlertRule) -> Iterator[Problem]:
    if rule.window_s > _LONGEST_WINDOW_S:
        yield f"{at}.window", f"must be at most 1h, not {format_duration(rule.window_s)}"


def _clears(at: str, rule: AlertRule) -> Iterator[Problem]:
    if rule.clear is None:
        return
    if rule.above is not None and rule.clear > rule.above:
        yield f"{at}.clear", f"must not be over above ({rule.above:g}), as {rule.clear:g} is"
    if rule.below is not None and rule.clear < rule.below:
        yield f"{at}.clear", f"must not be under below ({rule.below:g}), as {rule.clear:g} is"


# ... sinks


def _sinks(config: Config) -> Iterator[Problem]:
    yield from _twins("alerts.sinks", config.alerts.sinks)
    for index, sink in enumerate(config.alerts.sinks):
        for check in (_has_its_keys, _one_secret, _password_is_safe):
            with suppress(FaultyAttributeError):
                yield from check(f"alerts.sinks.{index}", sink)


def _has_its_keys(at: str, sink: Sink) -> Iterator[Problem]:
    kind = sink.kind
    for key in _NEEDS[kind]:
        if not getattr(sink, key) and not (key == "secret" and sink.secret_file):
            yield f"{at}.{_IN_FILE.get(key, key)}", f"is required for {kind}"
    for key in _OF_KINDS:
        is_given = getattr(sink, key) != type(sink).model_fields[key].default
        if is_given and key not in (*_NEEDS[kind], *_MAY[kind]):
            yield f"{at}.{_IN_FILE.get(key, key)}", f"does not go with {kind}"


def _one_secret(at: str, table: Sink | Hook) -> Iterator[Problem]:
    if table.secret is not None and table.secret_file is not None:
        yield f"{at}.secret_file", "goes in place of secret: leave out one of them"


def _password_is_safe(at: str, sink: Sink) -> Iterator[Problem]:
    given = sink.password is not None or sink.password_file is not None
    if sink.password is not None and sink.password_file is not None:
        yield f"{at}.password_file", "goes in place of password: leave out one of them"
    if given is not (sink.username is not None):
        yield at, "needs both username and password, or neither"
    elif given and sink.tls == "none":
        yield f"{at}.tls", "must not be none with a password: everybody on the way could read it"


# ... silences and hooks


def _silences(config: Config) -> Iterator[Problem]:
    for index, silence in enumerate(config.alerts.silences):
        with suppress(FaultyAttributeError):
            yield from _ends(f"alerts.silences.{index}", silence)


def _ends(at: str, silence: Silence) -> Iterator[Problem]:
    if silence.ends_at <= silence.begins_at:
        yield f"{at}.until", "must be after from"


def _hooks(config: Config) -> Iterator[Problem]:
    yield from _twins("hooks", config.hooks)
    for index, hook in enumerate(config.hooks):
        for check in (_one_secret, _can_be_required):
            with suppress(FaultyAttributeError):
                yield from check(f"hooks.{index}", hook)


def _can_be_required(at: str, hook: Hook) -> Iterator[Problem]:
    if hook.required and not any(event.startswith("before_") for event in hook.on):
        yield f"{at}.required", "goes with before_start or before_phase: the others tell what has happened"


def _twins(at: str, entries: Sequence[AlertRule | Sink | Hook]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        with suppress(FaultyAttributeError):
            earlier = first.setdefault(entry.name, index)
            if earlier != index:
                yield f"{at}.{index}.name", f'"{entry.name}" is also the name of {at}.{earlier}'
