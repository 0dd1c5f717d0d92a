"""JSON lines over a Unix socket.

Request: {"target": "package.module:function", "request": {...}, "log": path, "folder": scratch, "timeout": seconds or
null, "memory_limit": bytes or null, "disk_limit": bytes or null, "folders": [what the disk limit counts, too],
"network": bool}. The function takes the request and returns a JSON value.

Replies: first {"state": "started", "pid": int} from the process that watches over the job, then {"state": "returned" |
"raised" | "died" | "timed_out", "value": ..., "error": {...}, "limit": "what was exceeded", "signal": int,
"exit_code": int, "seconds": float, "peak_rss_bytes": int}.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

STARTED, RETURNED, RAISED, DIED, TIMED_OUT = "started", "returned", "raised", "died", "timed_out"
# The client itself gave up: no reply says this.
CANCELLED = "cancelled"


def send_message(connection: socket.socket, message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive_messages(connection: socket.socket) -> Iterator[Any]:
    """Messages until the other side closes.

    Raises:
      OSError: the connection broke, or its time is up.
    """
    parts: list[bytes] = []
    while data := connection.recv(2**16):
        *lines, rest = data.split(b"\n")
        for line in lines:
            yield json.loads(b"".join((*parts, line)))
            parts = []
        parts.append(rest)


def receive_message(connection: socket.socket) -> Any:
    """The next message, None where the other side has closed."""
    return next(receive_messages(connection), None)
