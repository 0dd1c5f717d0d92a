"""http(s):// -> a file, bounded in time and size, and whole or not at all."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request

from migrate import errors

_CHUNK = 2**18
# Seconds without a byte; the whole download has the stage's own limit.
STALL_SECONDS = 30.0
MAX_BYTES = 64 * 2**30


def download(
    url: str, path: str, *, timeout: float | None = None, stall: float = STALL_SECONDS, max_bytes: int = MAX_BYTES
) -> str:
    """Fetches a URL.

    Args:
      url: http:// or https://.
      path: file to write.
      timeout: seconds for all of it; None for no limit.
      stall: seconds that the server may be silent.
      max_bytes: largest body.

    Returns:
      The URL that answered, after redirects.

    Raises:
      CorruptModelError: the server refuses, is silent, breaks off, or its length is not the length of what it sent.
    """
    started = time.monotonic()
    try:
        request = urllib.request.Request(
            url, headers={"User-Agent": "tf-legacy-migrate", "Accept-Encoding": "identity"}
        )
        with urllib.request.urlopen(request, timeout=min(stall, timeout or stall)) as response:
            length = _parse_length(response.headers.get("Content-Length"), url)
            received = 0
            with open(path, "wb") as file:
                while chunk := response.read1(_CHUNK):
                    received += len(chunk)
                    if received > max_bytes or (length is not None and length > max_bytes):
                        raise _fail(url, f"the server sends more than {max_bytes:,} bytes")
                    if timeout is not None and time.monotonic() - started > timeout:
                        raise _fail(url, f"the download takes longer than {timeout:g} seconds")
                    file.write(chunk)
            if length is not None and received != length:
                raise _fail(url, f"the server broke off: {received:,} of {length:,} bytes came")
            if not received:
                raise _fail(url, "the server sent nothing")
            return str(response.url)
    except urllib.error.HTTPError as error:
        raise _fail(url, f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _fail(url, f"the server is silent for {stall:g} seconds") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _fail(url, f"the server is silent for {stall:g} seconds") from error
        raise _fail(url, f"the server cannot be reached: {error.reason}") from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename == os.fspath(path):
            raise
        raise _fail(url, f"the server broke off: {str(error) or type(error).__name__}") from error


def _parse_length(text: str | None, url: str) -> int | None:
    if text is None:
        return None
    if not text.strip().isdigit():
        raise _fail(url, f"the server states a length of {text!r}")
    return int(text)


def _fail(url: str, message: str) -> errors.CorruptModelError:
    return errors.CorruptModelError(message, where=url, hint="try again, or download it yourself and give the file")
