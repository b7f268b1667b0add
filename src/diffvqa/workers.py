"""Jobs done side by side: by processes of this machine, or by a Ray cluster that shares its file system."""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any

from diffvqa.errors import InputError, RunFailed
from diffvqa.pool import Job, Result, done_by_processes

AHEAD = 2
"""Jobs that are handed out for each worker, so that none of them waits for us."""


def done_in_order(
    function: Callable[..., Result],
    jobs: Iterable[Job],
    workers: int = 1,
    cluster: str | None = None,
    on_gpu: bool = False,
    ahead: int = AHEAD,
) -> Generator[Result, None, None]:
    """The results of `function(*job)` for every job, in the order of the jobs, however many work on them.

    workers: processes of this machine; with 1 it is this process that works. cluster: the address of a Ray cluster that
    does the jobs instead (`auto` for one that runs on this machine); `function` and the files that it reads and writes
    must be there under the same names. on_gpu: each job takes a GPU of the cluster, if it has any. ahead: jobs that are
    handed out for each worker before the first of them is done; more where some take much longer than others. Who may
    stop early closes it (`contextlib.closing`), which ends the processes. Raises InputError if there is no such
    cluster, RunFailed if workers end early.
    """
    if cluster is not None:
        return _by_cluster(function, jobs, cluster, on_gpu, ahead)
    if workers > 1:
        return done_by_processes(function, jobs, workers, ahead * workers)
    return (function(*job) for job in jobs)


def usable_cores() -> int:
    """How many cores this process may use, which on a shared machine are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _windowed(
    submit: Callable[[Job], Any], result: Callable[[Any], Result], jobs: Iterable[Job], at_once: int
) -> Generator[Result, None, None]:
    jobs = iter(jobs)
    waiting = deque(submit(job) for job in itertools.islice(jobs, at_once))
    while waiting:
        finished = result(waiting.popleft())
        waiting.extend(submit(job) for job in itertools.islice(jobs, 1))
        yield finished


def _by_cluster(
    function: Callable[..., Result], jobs: Iterable[Job], address: str, on_gpu: bool, ahead: int
) -> Generator[Result, None, None]:
    ray = _connected(address)
    from ray.exceptions import RayError, RayTaskError

    resource = "GPU" if on_gpu and ray.cluster_resources().get("GPU") else "CPU"
    slots = max(1, int(ray.cluster_resources().get(resource, 1)))
    # Sums are rounded by the number of threads: with that of this process, the results are those of this process.
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    remote = ray.remote(function).options(
        num_cpus=1, num_gpus=int(resource == "GPU"), runtime_env={"env_vars": {"OMP_NUM_THREADS": threads}}
    )
    try:
        yield from _windowed(lambda job: remote.remote(*job), ray.get, jobs, ahead * slots)
    except RayTaskError as error:
        # The job's own errors for users are raised as they are.
        if isinstance(error.cause, InputError | RunFailed):
            raise error.cause from error
        raise
    except RayError as error:
        raise RunFailed(
            f"--cluster: the cluster lost a job ({type(error).__name__}); "
            "give the same command again, it goes on where it was"
        ) from error


def _connected(address: str) -> Any:
    # Said before Ray is imported, which reads it then: nothing is to be told to anybody about runs on patients.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "needs Ray: pip install 'diffvqa[ray]', on every machine of the cluster", argument="cluster"
        ) from error
    if not ray.is_initialized():
        host, _, port = address.rpartition(":")
        try:
            if host and port.isdecimal():
                # Ray itself would try for minutes.
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of many kinds: no such address, another version, a refused connection
            raise InputError(
                f"no Ray cluster answers at {address!r} ({type(error).__name__}); "
                "start one with `ray start --head`, or give its address",
                argument="cluster",
            ) from error
    return ray
