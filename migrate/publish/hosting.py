"""A folder of migrated models, served by the protocol of https://www.tensorflow.org/hub/hosting.

- `GET /publisher/model/1?tf-hub-format=compressed` answers the archive of the model's folder.
- `...?tf-hub-format=uncompressed` answers 303 and where the folder lies: below `uncompressed_root` (gs://...), which
  tensorflow_hub asks for, or else below this server, file by file.
- `/publisher/model` stands for its newest version folder; without a query, a model answers the page that describes it.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import posixpath
import tempfile
import urllib.parse

from migrate import detect, errors
from migrate.publish import archive, card

_QUERY = "tf-hub-format"


def make_server(
    root: str, host: str = "127.0.0.1", port: int = 0, uncompressed_root: str = ""
) -> http.server.ThreadingHTTPServer:
    """A server that is bound and not yet running.

    Args:
      root: folder of the models.
      host, port: where to listen; port 0 takes a free one.
      uncompressed_root: gs:// folder that holds what `root` holds.

    Raises:
      SourceNotFoundError: there is no such folder.
      UsageError: the address is taken.
    """
    if not os.path.isdir(root):
        raise errors.SourceNotFoundError("there is no such folder", where=root, hint="check --root")
    top = os.path.realpath(root)

    class Handler(_Handler):
        folder = top
        elsewhere = uncompressed_root.rstrip("/")

    try:
        return http.server.ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        where = f"{host}:{port}"
        raise errors.UsageError(f"cannot listen: {error.strerror}", where=where, hint="try --port=0") from error


def find_model(root: str, path: str) -> str | None:
    """The model's folder that a URL's path names; its newest version where it names a folder of versions.

    Nothing outside `root` is ever named, whatever links lie in it.
    """
    parts = [part for part in posixpath.normpath(path).split("/") if part not in ("", ".")]
    if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    folder = os.path.realpath(os.path.join(root, *parts))
    if os.path.commonpath([root, folder]) != root or not os.path.isdir(folder):
        return None
    if detect.is_saved_model_dir(folder):
        return folder
    versions = [n for n in os.listdir(folder) if n.isdigit() and detect.is_saved_model_dir(os.path.join(folder, n))]
    return find_model(root, f"{path}/{max(versions, key=int)}") if versions else None


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the models below `folder`."""

    folder = ""
    elsewhere = ""
    protocol_version = "HTTP/1.1"
    server_version = "migrate-serve"

    def do_GET(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._answer()

    do_HEAD = do_GET

    def _answer(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(parts.path)
        wanted = urllib.parse.parse_qs(parts.query).get(_QUERY, [""])[-1]
        model = find_model(self.folder, path)
        if model is None:
            self._send_file(self._find_file(path))
        elif wanted == "compressed":
            self._send_archive(model)
        elif wanted == "uncompressed":
            place = urllib.parse.quote(os.path.relpath(model, self.folder).replace(os.sep, "/"))
            location = f"{self.elsewhere or 'http://' + self.headers.get('Host', 'localhost')}/{place}"
            self._send(303, location.encode(), "text/plain", {"Location": location})
        elif wanted:
            self._send(400, f"no such format: {wanted}\n".encode(), "text/plain")
        else:
            self._send_file(os.path.join(model, card.FILE))

    def _find_file(self, path: str) -> str | None:
        """A file of a model, for those who read it where it lies."""
        folder, _, name = path.rstrip("/").rpartition("/")
        inside = [name]
        while folder and find_model(self.folder, folder) is None:
            folder, _, name = folder.rpartition("/")
            inside.insert(0, name)
        model = find_model(self.folder, folder) if folder else None
        if model is None or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in inside):
            return None
        file = os.path.realpath(os.path.join(model, *inside))
        return file if os.path.commonpath([model, file]) == model else None

    def _send_file(self, path: str | None) -> None:
        if path is None or not os.path.isfile(path):
            self._send(404, b"there is no such model\n", "text/plain")
            return
        kind = "text/markdown; charset=utf-8" if path.endswith(".md") else "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(os.path.getsize(path)))
        self.end_headers()
        if self.command != "HEAD":
            archive.copy_archive(path, self.wfile)

    def _send_archive(self, model: str) -> None:
        with tempfile.NamedTemporaryFile(suffix=archive.ENDING) as file:
            archive.pack(model, file)
            file.flush()
            self.send_response(200)
            self.send_header("Content-Type", "application/gzip")
            self.send_header("Content-Length", str(os.path.getsize(file.name)))
            self.end_headers()
            if self.command != "HEAD":
                archive.copy_archive(file.name, self.wfile)

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the command says what it serves."""
