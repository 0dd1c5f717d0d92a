"""JSON lines over a Unix socket: a Call, then Started from the process that watches over the job, then a Reply."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

from migrate import records

RETURNED, RAISED, DIED, TIMED_OUT = "returned", "raised", "died", "timed_out"
# The client itself gave up: no reply says this.
CANCELLED = "cancelled"


T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the client asks.

    Attributes:
      target: "package.module:function".
      request: what the function takes, as JSON; its annotation says of which type.
      log: file that receives what the process prints.
      folder: scratch, in which it works.
      timeout: seconds, None for no limit.
      memory_limit: bytes, of all its processes together.
      disk_limit: bytes that may lie in `folder` and in `folders`.
      read_only: paths that it cannot write to, where the system lets that be.
      network: whether it keeps the network.
    """

    target: str
    request: Any
    log: str
    folder: str
    timeout: float | None = None
    memory_limit: int | None = None
    disk_limit: int | None = None
    folders: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    network: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """`pid`: of the process that watches over the job."""

    pid: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What the function raised: the class by name, and what it says; `traceback` is "" for the toolkit's own errors."""

    type: str
    message: str
    where: str = ""
    hint: str = ""
    traceback: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of the job.

    Attributes:
      state: RETURNED, RAISED, DIED or TIMED_OUT.
      value: what the function returned, as JSON.
      error: what it raised.
      limit: what it exceeded, "" for nothing.
      signal, exit_code: how the process died.
      seconds, peak_rss_bytes: what it took.
    """

    state: str
    value: Any = None
    error: Failure | None = None
    limit: str = ""
    signal: int = 0
    exit_code: int = 0
    seconds: float = 0.0
    peak_rss_bytes: int = 0


def send_message(connection: socket.socket, message: Call | Started | Reply) -> None:
    connection.sendall(json.dumps(records.to_json(message)).encode() + b"\n")


def receive_messages(connection: socket.socket) -> Iterator[Any]:
    """Messages, as JSON, until the other side closes.

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


def receive_message(messages: Iterator[Any], kind: type[T]) -> T | None:
    """The next of `receive_messages`, None where the other side has closed."""
    message = next(messages, None)
    return None if message is None else records.from_json(kind, message)
