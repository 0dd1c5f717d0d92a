"""Servers that do what servers do, and worse."""

import contextlib
import http.server
import threading
import time


@contextlib.contextmanager
def serving(answer):
    """Runs `answer(handler)` for each GET on loopback; gives the address and the list of paths that were asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                answer(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def send(data, *, length=None, status=200):
    """Answers with `data`, and a Content-Length that may be a lie."""

    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)) if length is None else str(length))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def hang(handler):
    """Says that much is to come, sends little, and nothing more."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.wfile.write(b"\x1f\x8b")
    handler.wfile.flush()
    time.sleep(20)


def drip(handler):
    """Sends a byte now and then for ever: never silent, never done."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)
