"""migrate-serve: serves a folder of migrated models, so that `hub.load("http://...")` finds them."""

from __future__ import annotations

import contextlib

from absl import flags

from migrate.cli import program


def define_flags() -> None:
    flags.DEFINE_string("root", None, "Folder of migrated models: <root>/publisher/model/1 is /publisher/model/1.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; the default is seen by this machine only.")
    flags.DEFINE_integer("port", 8501, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535)
    flags.DEFINE_string(
        "uncompressed_root", "", "gs:// folder with the same models, for clients that read them where they lie."
    )


def main() -> int:
    from migrate.publish import hosting  # not before the flags are known to be right

    values = flags.FLAGS
    root = program.require_flag("root")
    server = hosting.make_server(root, values.host, values.port, values.uncompressed_root)
    host = f"[{values.host}]" if ":" in values.host else values.host
    print(f"serving {root} on http://{host}:{server.server_address[1]} (stop with Ctrl-C)", flush=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return program.OK


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
