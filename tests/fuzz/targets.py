"""The targets by name: each takes any bytes, and raises if something is wrong with us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz import inputs, messages

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        messages.client_bytes,
        messages.backend_bytes,
        messages.request_heads,
        messages.response_heads,
        messages.chunks,
        inputs.configuration_text,
        inputs.configuration,
        inputs.store_content,
        inputs.report,
        inputs.frames,
        inputs.proxy_header,
        inputs.override_value,
        inputs.keys_and_addresses,
        inputs.admin_inputs,
    )
}
