"""Migrates a model again and again and kills it at random moments: argv is source, dest, weights, moments, seed.

A process that has imported TensorFlow, and run nothing, forks for each moment; the fork migrates with the stages in its
own process, as the jobs' code runs in processes that die with whoever asked for them. Prints how the moments ended.
"""

import json
import os
import random
import shutil
import signal
import sys
import time

import tensorflow  # noqa: F401  # once, for all forks

from migrate import isolation, pipeline
from migrate.isolation.job import find_function
from migrate.options import MigrateOptions
from migrate.write import writer  # noqa: F401  # as TensorFlow
from tests.write.test_weights import digest_files, read_values


def _run_here(job, request, **_):
    function, _ = find_function(job.target)
    return isolation.JobResult(value=function(request), seconds=0.0, peak_rss_bytes=0)


def _fork(source, dest, mode):
    pid = os.fork()
    if pid == 0:
        isolation.run_job = _run_here
        try:
            pipeline.migrate_model(source, dest, MigrateOptions(verify="none", weights=mode, overwrite=True))
        finally:
            os._exit(0)
    return pid


def _state(dest):
    names = sorted(os.path.relpath(path, dest) for path in digest_files(dest))
    return names, {key: value.tolist() for key, (_, value) in read_values(dest).items()}


def main(source, dest, mode, moments, seed):
    before = digest_files(source)
    began = time.monotonic()
    os.waitpid(_fork(source, dest, mode), 0)
    seconds = time.monotonic() - began
    expected = _state(dest)
    assert "saved_model.pb" in expected[0]
    shutil.rmtree(dest)
    rng, ended = random.Random(seed), {"none": 0, "complete": 0}
    for _ in range(moments):
        pid = _fork(source, dest, mode)
        # The end, in which files are written and put in place, gets half of the moments.
        part = rng.uniform(0.6, 1.2) if rng.random() < 0.5 else rng.uniform(0, 1)
        time.sleep(seconds * part)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if os.path.exists(dest):
            ended["complete"] += 1
            assert _state(dest) == expected
            shutil.rmtree(dest)
        else:
            ended["none"] += 1
        assert digest_files(source) == before
        for name in os.listdir(os.path.dirname(dest)):
            if name.endswith(".partial"):
                shutil.rmtree(os.path.join(os.path.dirname(dest), name))
    print(json.dumps(ended))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
