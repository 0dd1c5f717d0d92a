"""URLs whose server tells the bucket where the model lies unpacked; nothing is cached."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from compat.hub import resolver


class HttpUncompressedFileResolver(resolver.HttpResolverBase):
    """http(s):// with TFHUB_MODEL_LOAD_FORMAT=UNCOMPRESSED."""

    def is_supported(self, handle: str) -> bool:
        return self.is_http_protocol(handle) and resolver.model_load_format() == (
            resolver.ModelLoadFormat.UNCOMPRESSED.value
        )

    def __call__(self, handle: str) -> str:
        """The gs:// location.

        Raises:
          OSError: there is nothing there.
          ValueError: the server's answer is not 303 with a gs:// location.
        """
        location = self._request_gcs_location(self._append_uncompressed_format_query(handle))
        return resolver.PathResolver()(location)

    def _append_uncompressed_format_query(self, handle: str) -> str:
        return self._append_format_query(handle, ("tf-hub-format", "uncompressed"))

    def _request_gcs_location(self, handle_with_params: str) -> str:
        location: str = self._call_urlopen(urllib.request.Request(handle_with_params))
        if not location.startswith("gs://"):
            raise ValueError(f"Expected server to return a GCS location but received {location}")
        return location

    def _call_urlopen(self, request: Any) -> Any:
        """The body of a 303 answer, which urllib reports as an error where it names no http(s) location."""
        try:
            response = super()._call_urlopen(request)
            code, body = response.code, ""
        except urllib.error.HTTPError as error:
            code = error.code
            body = error.read().decode().strip() if code == 303 else ""
        if code != 303:
            raise ValueError(f"Expected 303 See other HTTP response but received code {code}")
        return body
