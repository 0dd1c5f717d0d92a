"""One JSON line each way over a Unix socket.

Request: {"target": "package.module:function", "request": {...}, "log": path, "folder": scratch, "timeout": seconds or
null, "memory_limit": bytes or null, "network": bool}. The function takes the request and returns a JSON value. Reply:
{"state": "returned" | "raised" | "died" | "timed_out", "value": ..., "error": {...}, "signal": int, "exit_code": int,
"seconds": float, "peak_rss_bytes": int}.
"""

from __future__ import annotations

import json
import socket
from typing import Any

RETURNED, RAISED, DIED, TIMED_OUT = "returned", "raised", "died", "timed_out"


def send_message(connection: socket.socket, message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive_message(connection: socket.socket) -> Any:
    """The next message, None where the other side has closed."""
    parts = []
    while True:
        data = connection.recv(2**16)
        if not data:
            return None
        parts.append(data)
        if data.endswith(b"\n"):
            return json.loads(b"".join(parts))
