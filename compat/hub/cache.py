"""A folder that is filled once, by one process at a time, and is never seen half full.

Names and contents of the helper files are those of tensorflow_hub 0.15, so that both can share a cache:

    <dir>                  the model, complete
    <dir>.lock             "<host>.<process>.<id>" of who fills it
    <dir>.<id>.tmp         what that process has so far
    <dir>.descriptor.txt   what it is, for people
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import time
import uuid
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from compat.hub import tf_utils

LOCK_TIMEOUT_SECONDS = 10 * 60.0
_POLL_SECONDS = 1.0


def atomic_download(
    handle: str,
    download_fn: Callable[[str, str], None],
    module_dir: str,
    lock_file_timeout_sec: float = LOCK_TIMEOUT_SECONDS,
    poll_seconds: float = _POLL_SECONDS,
) -> str:
    """Returns `module_dir`, filled by `download_fn` if it was not yet there.

    Args:
      handle: what is fetched, for messages and the descriptor.
      download_fn: takes the handle and the folder into which it writes everything.
      module_dir: to fill; its parent exists.
      lock_file_timeout_sec: another process that writes nothing for so long has died, and its lock is taken.
      poll_seconds: how often to look at another's lock.

    Raises:
      what `download_fn` raises, and tf.errors.OpError where the folder cannot be written; then nothing is left.
    """
    if _is_filled(module_dir):
        return module_dir
    identity = uuid.uuid4().hex
    lock, temporary, owner = lock_filename(module_dir), temp_download_dir(module_dir, identity), lock_contents(identity)
    try:
        while not _try_lock(lock, owner):
            wait_for_lock(handle, lock, lock_file_timeout_sec, poll_seconds)
        if _is_filled(module_dir):
            return module_dir
        if tf.io.gfile.exists(module_dir):
            tf.io.gfile.rmtree(module_dir)  # Empty: someone emptied it.
        logging.info("Downloading TF-Hub Module '%s'.", handle)
        tf.io.gfile.makedirs(temporary)
        download_fn(handle, temporary)
        _describe(handle, module_dir)
        with contextlib.suppress(tf.errors.AlreadyExistsError):  # Someone who took the lock was quicker.
            tf.io.gfile.rename(temporary, module_dir)
    finally:
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.rmtree(temporary)
        if _read(lock) == owner:
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(lock)
    return module_dir


def lock_filename(module_dir: str) -> str:
    return f"{tf_utils.absolute_path(module_dir)}.lock"


def lock_contents(identity: str) -> str:
    return f"{socket.gethostname()}.{os.getpid()}.{identity}"


def read_identity(lock: str) -> str:
    """The id in a lock file."""
    return tf_utils.read_file_to_string(lock).rpartition(".")[2]


def temp_download_dir(module_dir: str, identity: object) -> str:
    return f"{tf_utils.absolute_path(module_dir)}.{identity}.tmp"


def descriptor_filename(module_dir: str) -> str:
    return f"{module_dir}.descriptor.txt"


def measure_directory(directory: str) -> int:
    """Bytes below a folder; 0 where there is none."""
    total = 0
    for folder, _, names in tf.io.gfile.walk(directory):
        for name in names:
            with contextlib.suppress(tf.errors.NotFoundError):
                total += tf.io.gfile.stat(os.path.join(folder, name)).length
    return total


def measure_download(lock: str) -> int:
    """Bytes that the owner of a lock has so far; 0 where it has begun nothing.

    Raises:
      tf.errors.NotFoundError: the lock is gone.
    """
    return measure_directory(temp_download_dir(lock.removesuffix(".lock"), read_identity(lock)))


def wait_for_lock(handle: str, lock: str, timeout_seconds: float, poll_seconds: float = _POLL_SECONDS) -> None:
    """Returns when the lock is gone; removes it if its owner makes no progress.

    The lock is taken when two looks, `timeout_seconds` apart, saw the same owner with the same bytes. The first
    look is `timeout_seconds` after the start: an owner that stood still just before is given that time, too.
    """
    seen: tuple[str, int] | None = None
    since = time.monotonic()
    while (owner := _read(lock)) is not None:
        if time.monotonic() - since > timeout_seconds:
            now = (owner, measure_directory(temp_download_dir(lock.removesuffix(".lock"), owner.rpartition(".")[2])))
            if now == seen:
                logging.warning("Deleting lock file %s due to inactivity.", lock)
                with contextlib.suppress(tf.errors.NotFoundError):
                    tf.io.gfile.remove(lock)
                return
            seen, since = now, time.monotonic()
        logging.log_every_n(logging.INFO, "Module '%s' is being downloaded by '%s'. Waiting.", 10, handle, owner)
        time.sleep(poll_seconds)


def _is_filled(directory: str) -> bool:
    return tf.io.gfile.isdir(directory) and bool(tf.io.gfile.listdir(directory))


def _try_lock(lock: str, owner: str) -> bool:
    """Whether the lock is ours now. Where TensorFlow's file system lets two have it, the last rename decides."""
    try:
        tf_utils.atomic_write_string_to_file(lock, owner, overwrite=False)
    except (tf.errors.AlreadyExistsError, tf.errors.FailedPreconditionError):
        return False
    return True


def _read(path: str) -> str | None:
    try:
        return tf_utils.read_file_to_string(path)
    except tf.errors.NotFoundError:
        return None


def _describe(handle: str, module_dir: str) -> None:
    text = (
        f"Module: {handle}\nDownload Time: {datetime.datetime.now()}\n"
        f"Downloader Hostname: {socket.gethostname()} (PID:{os.getpid()})"
    )
    tf_utils.atomic_write_string_to_file(descriptor_filename(module_dir), text, overwrite=True)
