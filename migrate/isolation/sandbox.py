"""What an isolated process may see and do: environment, import path, working directory, network, files.

The code of a model from a stranger runs there (a graph is a program). What the system does not permit (namespaces need
a right that some containers withhold) is left out: the scan before it, the limits and the fresh process remain.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence

from migrate.isolation import processes

# Everything else stays behind: credentials, tokens, the user's settings of other programs.
_KEPT = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
        "PYTHONHASHSEED", "PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX",
        "PYTHONDONTWRITEBYTECODE", "PYTHONMALLOC", "PYTHONUTF8", "SSL_CERT_FILE",
    }
)  # fmt: skip
_KEPT_PREFIXES = (
    "ABSL_",
    "COVERAGE_",
    "CUDA_",
    "DYLD_",
    "KERAS_",
    "KMP_",
    "LC_",
    "MKL_",
    "NVIDIA_",
    "OMP_",
    "TF_",
    "XLA_",
)
_DEFAULTS = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}

# linux/sched.h
_NEW_NETWORK, _NEW_USER, _NEW_MOUNTS = 0x40000000, 0x10000000, 0x00020000
# linux/mount.h
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
# Flags of a mount that one who is not root may not take away; statvfs spells them as mount does.
_LOCKED = os.ST_NOSUID | getattr(os, "ST_NODEV", 0) | getattr(os, "ST_NOEXEC", 0) | getattr(os, "ST_NOATIME", 0)


def make_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment an isolated process gets.

    Args:
      environment: the caller's.

    Returns:
      It, without all that neither Python nor TensorFlow needs. An empty entry of PYTHONPATH would be the working
      directory; what is relative is made absolute, as the process works elsewhere.
    """
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    folders = [os.path.abspath(entry) for entry in kept.pop("PYTHONPATH", "").split(os.pathsep) if entry]
    if folders:
        kept["PYTHONPATH"] = os.pathsep.join(folders)
    return _DEFAULTS | kept


def make_command(module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs `module`:main of this package, wherever the caller has it from.

    -P: neither the working directory nor the folder of a script is on the path, so that no `random.py` or `migrate/`
    that lies beside a user (or in the folder of a model) is ever imported.
    """
    package = sys.modules[__name__.partition(".")[0]]
    code = (
        "import importlib, importlib.util, sys\n"
        "find = importlib.util.spec_from_file_location\n"
        "spec = find(sys.argv[1], sys.argv[2], submodule_search_locations=[sys.argv[3]])\n"
        "package = importlib.util.module_from_spec(spec)\n"
        "sys.modules[sys.argv[1]] = package\n"
        "spec.loader.exec_module(package)\n"
        "importlib.import_module(sys.argv[4]).main(sys.argv[5:])\n"
    )
    file = os.path.abspath(package.__file__ or "")
    return [sys.executable, "-P", "-c", code, package.__name__, file, os.path.dirname(file), module, *arguments]


def enter(*, folder: str, network: bool, memory_limit: int | None, read_only: Sequence[str] = ()) -> None:
    """Makes this process an isolated one; it must have one thread.

    Args:
      folder: scratch; the working directory and TMPDIR from now on.
      network: whether it keeps the network.
      memory_limit: bytes that it may allocate, None for no limit.
      read_only: paths that it shall not write to.
    """
    os.chdir(folder)
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # found anew: what was imported may have asked before
    # A core file would be written into the scratch folder, or wherever the system has them.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_limit:
        # What the server had before it forked is not the job's.
        most = memory_limit + processes.measure_data()
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if not network:
        drop_network()
    protect_paths(read_only)


def holds_any(path: str, folders: Sequence[str]) -> bool:
    """Whether one of `folders` is `path` or lies in it."""
    base = os.path.realpath(path)
    return any((os.path.realpath(folder) + os.sep).startswith(base.rstrip(os.sep) + os.sep) for folder in folders)


def protect_paths(paths: Sequence[str]) -> bool:
    """Makes paths read-only for this process and its children alone; whether the system let it.

    In a mount namespace of its own each is bound over itself and the copy remounted (mount_namespaces(7)).
    """
    present = [path for path in paths if os.path.exists(path)]
    if sys.platform != "linux" or not present or not _unshare(_NEW_MOUNTS):
        return False
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str | None, target: str, flags: int) -> bool:
        encoded = None if source is None else os.fsencode(source)
        return bool(libc.mount(encoded, os.fsencode(target), None, ctypes.c_ulong(flags), None) == 0)

    done = mount(None, "/", _RECURSIVE | _PRIVATE)
    for path in present:
        kept = os.statvfs(path).f_flag & _LOCKED
        done = done and mount(path, path, _BIND | _RECURSIVE)
        done = done and mount(None, path, _REMOUNT | _BIND | _READ_ONLY | kept)
    return done


def drop_network() -> bool:
    """Takes the network away, the loopback too; whether the system let it."""
    if sys.platform != "linux":
        return False
    if _unshare(_NEW_NETWORK):
        return True
    if os.geteuid() == 0:
        # A root without the right to do it would lose his other rights in a user namespace.
        return False
    user, group = os.geteuid(), os.getegid()
    if not _unshare(_NEW_USER | _NEW_NETWORK):
        return False
    # The process stays who it was (user_namespaces(7)); without this it would be nobody.
    with contextlib.suppress(OSError):
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    return True


def _unshare(flags: int) -> bool:
    # os.unshare is there from Python 3.12 on.
    try:
        return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)
    except (AttributeError, OSError):
        return False
