"""What systemd is told, where it asks: sd_notify(3) is one datagram.

Without it a restart without downtime would look to systemd like the end of the service.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("dualpath")


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Send `state`, such as "READY=1", to the socket that NOTIFY_SOCKET names, if it names one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), name)
    except OSError as error:
        log.warning("systemd: cannot be told %r: %s", state, error)
