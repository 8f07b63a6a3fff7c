"""Configuration values that are text with a grammar: addresses, networks, tokens, prefixes, endpoints, keys.

Each `parse_*` returns the normalised value or raises ValueError with what was expected. This module knows
single values; it must not know which table or key a value stands in.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    ValidationInfo,
    WithJsonSchema,
)

from proxy.config.texts import socket_path
from proxy.config.units import DURATION_PATTERN, format_duration, parse_duration, shown
from proxy.judgment import Metric

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_METHOD = re.compile(r"[A-Z][A-Z0-9_\-]*")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?")
_PREFIX = re.compile(r"/[!-~]*")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_HOST_PORT = re.compile(
    r"(?P<host>\[(?P<v6>[0-9A-Fa-f:.]+)\]|[A-Za-z0-9](?:[A-Za-z0-9\-._]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_ENDPOINT = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@]+)/?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DNS_PORT = 53
_NO_TUNNELS = ("h2", "http", "tls")
_HIDDEN = "***"
_LONGEST_NAME = 100
_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7), with its final NUL

WITH_SECRETS: Final[dict[str, bool]] = {"secrets": True}
"""The context in which a configuration is written out whole: for a process of our own, never for people."""

AUTO: Final = "auto"
MOST_WORKERS: Final = 256

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_host_port(value: str) -> str:
    """ "host:port" or "[v6]:port" with port 0..65535; port 0 lets the system choose."""
    if value.count(":") > 1 and "[" not in value:
        raise ValueError(f'must be "[address]:port" for IPv6, not {shown(value)}')
    parts = _authority(value)
    if parts is None or parts[1] is None:
        raise ValueError(f'must be "host:port" with a port up to 65535, not {shown(value)}')
    return value


def parse_admin_address(value: str) -> str:
    """As `parse_host_port`, or "unix:" and the absolute path of a socket."""
    path = socket_path(value)
    if path is None:
        return parse_host_port(value)
    if not path.startswith("/") or not path.isprintable() or " " in path or path.endswith("/"):
        raise ValueError(f'must be "unix:" and an absolute path without spaces, not {shown(value)}')
    if len(path.encode()) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"must hold a path of at most {_LONGEST_SOCKET_PATH} bytes, not {shown(value)}")
    return value


def split_host_port(value: str) -> tuple[str, int]:
    """Host without brackets, and port, of a value that `parse_host_port` has accepted."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def parse_token(value: str) -> str:
    """An RFC 9110 token: a header or cookie name, the name of a rollout or phase."""
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"must be a name without spaces or separators, not {shown(value)}")
    return value


def parse_upgrade_protocol(value: str) -> str:
    """A protocol of Upgrade (RFC 9110 section 7.8) in lower case: "name", "name/version", or "*" for any."""
    name, slash, version = value.partition("/")
    if value != "*" and not (_TOKEN.fullmatch(name) and (not slash or _TOKEN.fullmatch(version))):
        raise ValueError(f'must be a protocol such as "websocket", or "*", not {shown(value)}')
    if name.lower().startswith(_NO_TUNNELS):
        raise ValueError(f"must not be {shown(value)}: HTTP and TLS are for one connection only")
    return value.lower()


def parse_method(value: str) -> str:
    """An HTTP method. Methods are case-sensitive (RFC 9110 section 9.1): "get" would match nothing."""
    if not _METHOD.fullmatch(value):
        raise ValueError(f'must be a method in capitals such as "GET", not {shown(value)}')
    return value


def parse_prefix(value: str) -> str:
    """A path prefix that starts with "/" and has no query, fragment or space."""
    if not _PREFIX.fullmatch(value) or "?" in value or "#" in value:
        raise ValueError(f'must start with "/" and hold no space, query or fragment, not {shown(value)}')
    return value


def parse_request_target(value: str) -> str:
    """A path that starts with "/", with or without a query."""
    if not _PREFIX.fullmatch(value) or "#" in value:
        raise ValueError(f'must start with "/" and hold no space or fragment, not {shown(value)}')
    return value


def parse_headers(value: object) -> dict[str, str]:
    """A table of fields, each a name and one line of text; in the order of their names."""
    fields: dict[Any, Any] = value if isinstance(value, dict) else {None: None}
    for name, text in fields.items():
        if not (isinstance(name, str) and _TOKEN.fullmatch(name)):
            raise ValueError(f'must be a table of fields such as {{ Host = "a.example" }}, not {shown(name)}')
        if not (isinstance(text, str) and text.isprintable() and text.isascii()):
            raise ValueError(f"must have one line of text for {name}, not {shown(text)}")
    return dict(sorted(fields.items()))


def parse_plan_name(value: str) -> str:
    """The name of a preset, or the path of a TOML file."""
    if not value.strip() or not value.isprintable():
        raise ValueError(f'must be a preset such as "gradual", or a TOML file, not {shown(value)}')
    return value


def parse_network(value: object) -> IPNetwork:
    """An IPv4 or IPv6 network such as "10.0.0.0/8", or one address."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f'must be a network such as "10.0.0.0/8", not {shown(value)}') from None


def parse_endpoint(value: object) -> str:
    """ "http://host[:port]" or "https://host[:port]"; always with its port, in lower case, without a path."""
    match = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    parts = _authority(match["authority"]) if match else None
    if match is None or parts is None or parts[1] == 0:
        expected = "http:// or https:// with host and port alone"
        raise ValueError(f'must be {expected}, such as "http://127.0.0.1:9001", not {shown(value)}')
    scheme, (host, port) = match["scheme"].lower(), parts
    return f"{scheme}://{host.lower()}:{port or _DEFAULT_PORTS[scheme]}"


def parse_name_server(value: object) -> str:
    """ "address" or "address:port" of a name server, an IPv6 address in brackets; always with its port."""
    parts = _authority(value) if isinstance(value, str) else None
    if parts is not None and parts[1] != 0:
        with suppress(ValueError):
            ipaddress.ip_address(parts[0].strip("[]"))
            return f"{parts[0]}:{parts[1] or _DNS_PORT}"
    expected = 'an address with or without a port, such as "10.0.0.53" or "[::1]:5353"'
    raise ValueError(f"must be {expected}, not {shown(value)}")


def parse_host_pattern(value: object) -> str:
    """A host name in lower case, or "*." before one."""
    host = value.lower() if isinstance(value, str) else ""
    if not _HOST.fullmatch(host):
        expected = 'a host without port such as "api.example.com" or "*.example.com"'
        raise ValueError(f"must be {expected}, not {shown(value)}")
    return host


def parse_key_source(value: object) -> str:
    """ "header:NAME", "cookie:NAME" or "client_ip"."""
    source = value if isinstance(value, str) else ""
    kind, _, name = source.partition(":")
    if source == "client_ip" or (kind in {"header", "cookie"} and _TOKEN.fullmatch(name)):
        return source
    raise ValueError(f'must be "header:NAME", "cookie:NAME" or "client_ip", not {shown(value)}')


def parse_workers(value: object) -> int | str:
    """A number of processes from 1 to 256, or "auto"."""
    if value == AUTO:
        return AUTO
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS:
        return value
    raise ValueError(f'must be a whole number from 1 to {MOST_WORKERS}, or "auto", not {shown(value)}')


def parse_sha256(value: str) -> str:
    """64 hexadecimal digits. The message never quotes the value: it may be the token itself."""
    if not _HEX_DIGEST.fullmatch(value.lower()):
        raise ValueError("must be the 64 hexadecimal digits of the token's SHA-256")
    return value.lower()


def parse_actor_name(value: str) -> str:
    """What the audit and the log call somebody: one printable line of at most 100 characters."""
    if not value.strip() or value != value.strip() or not value.isprintable() or len(value) > _LONGEST_NAME:
        expected = f"one printable line of at most {_LONGEST_NAME} characters without spaces around it"
        raise ValueError(f"must be {expected}, not {shown(value)}")
    return value


def parse_json_part(value: object) -> dict[str, Any]:
    """A table of text, numbers, true or false, or of such tables; at most ten deep."""
    if not _is_json_part(value, 10):
        raise ValueError(f'must be a table such as {{ database = "connected" }}, not {shown(value)}')
    return cast("dict[str, Any]", value)


def _is_json_part(value: object, depth: int) -> bool:
    if not isinstance(value, dict) or not value or not depth:
        return False
    return all(
        isinstance(key, str) and (isinstance(one, str | bool | int | float) or _is_json_part(one, depth - 1))
        for key, one in value.items()
    )


def takes_duration(metric: Metric) -> bool:
    """Whether the metric's limit is a duration; the others take numbers."""
    return metric.startswith("latency_") and metric is not Metric.LATENCY_RATIO_P95


def takes_rate(metric: Metric) -> bool:
    """Whether the metric is a share 0..1."""
    return metric.endswith(("_rate", "_cpu", "_memory")) or metric in {
        Metric.HEALTH,
        Metric.CPU,
        Metric.MEMORY,
    }


def parse_limit(value: object, info: ValidationInfo) -> float:
    """A guard's limit: seconds from a duration for latency metrics, else a number, 0..1 for shares.

    Reads the metric from `info.data`; where that is not known, either form will do.
    """
    metric = info.data.get("metric")
    known = metric if isinstance(metric, Metric) else None
    if known and takes_duration(known) and not isinstance(value, str):
        raise ValueError(f'must be a duration such as "250ms", because {known} is one, not {shown(value)}')
    if isinstance(value, str) and (known is None or takes_duration(known)):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"must be a number{f', because {known} is one' if known else ''}, not {shown(value)}"
        )
    if known and takes_rate(known) and not 0 <= value <= 1:
        raise ValueError(f"must be from 0 to 1, because {known} is a share, not {shown(value)}")
    if not 0 <= value <= 1e9:
        raise ValueError(f"must be from 0 to 1e9, not {shown(value)}")
    return float(value)


def format_limit(metric: Metric, limit: float) -> str | float:
    """The limit as the file writes it: what `parse_limit` has read for this metric."""
    return format_duration(limit) if takes_duration(metric) else limit


def _authority(value: str) -> tuple[str, int | None] | None:
    """Host (an IPv6 address in its brackets) and port of "host[:port]", or None where it is not that."""
    match = _HOST_PORT.fullmatch(value)
    if match is None or (match["port"] and int(match["port"]) > 65535):
        return None
    if match["v6"]:
        try:
            ipaddress.IPv6Address(match["v6"])
        except ValueError:
            return None
    return match["host"], int(match["port"]) if match["port"] else None


def hidden(value: Any, info: SerializationInfo) -> Any:
    """What stands for a secret wherever a configuration is written out, unless it is `WITH_SECRETS`."""
    return value if info.context is WITH_SECRETS else _HIDDEN


def _hidden_each(fields: dict[str, str], info: SerializationInfo) -> dict[str, str]:
    return {name: hidden(text, info) for name, text in fields.items()}


HostPort = Annotated[str, AfterValidator(parse_host_port)]
Status = Annotated[int, Field(strict=True, ge=100, le=599)]
JsonPart = Annotated[
    dict[str, Any],
    PlainValidator(parse_json_part),
    WithJsonSchema({"type": "object", "minProperties": 1}),
]
AdminAddress = Annotated[str, AfterValidator(parse_admin_address)]
ActorName = Annotated[str, AfterValidator(parse_actor_name)]
Token = Annotated[str, AfterValidator(parse_token)]
UpgradeProtocol = Annotated[str, AfterValidator(parse_upgrade_protocol)]
Method = Annotated[str, AfterValidator(parse_method)]
RoutePrefix = Annotated[str, AfterValidator(parse_prefix)]
RequestTarget = Annotated[str, AfterValidator(parse_request_target)]
Headers = Annotated[
    dict[str, str],
    PlainValidator(parse_headers),
    PlainSerializer(_hidden_each, when_used="json"),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
PlanName = Annotated[str, AfterValidator(parse_plan_name)]
HostPattern = Annotated[str, BeforeValidator(parse_host_pattern)]
KeySource = Annotated[str, BeforeValidator(parse_key_source)]
Endpoint = Annotated[str, BeforeValidator(parse_endpoint)]
NameServer = Annotated[str, BeforeValidator(parse_name_server)]
Workers = Annotated[
    int | Literal["auto"],
    BeforeValidator(parse_workers),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_WORKERS}, {"enum": [AUTO]}]}),
]
# Secrets are hidden wherever a configuration is written out as JSON, so that no caller has to remember it.
Sha256 = Annotated[str, AfterValidator(parse_sha256), PlainSerializer(hidden, when_used="json")]
Secret = Annotated[str, Field(min_length=16), PlainSerializer(hidden, when_used="json")]
Network = Annotated[
    IPNetwork,
    BeforeValidator(parse_network),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "192.0.2.7"]}),
]
Limit = Annotated[
    float,
    BeforeValidator(parse_limit),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": DURATION_PATTERN}]}
    ),
]
