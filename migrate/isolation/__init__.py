"""Runs a function in a process of its own: a crash, a hang or a memory hog of one model harms nothing else.

A server process imports TensorFlow once and forks for each job, so that a fresh process costs milliseconds
instead of the seconds of the import. It forks while TensorFlow is only imported, never after it has run
something: a running TensorFlow has threads, and threads do not survive a fork.
"""

from migrate.isolation.aside import Aside
from migrate.isolation.client import Interrupt, JobError, JobResult, Server, keep_logs, protect, run_job, shared_server
from migrate.isolation.job import Job

__all__ = [
    "Aside",
    "Interrupt",
    "Job",
    "JobError",
    "JobResult",
    "Server",
    "keep_logs",
    "protect",
    "run_job",
    "shared_server",
]
