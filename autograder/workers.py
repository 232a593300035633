"""Where submissions are judged: Dask workers, of this machine or of a cluster."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

from autograder.errors import UserError
from autograder.execute import warm_sandbox

CONNECT_SECONDS = 20
KEPT_MESSAGES = 8  # Dask would keep the last 1000 on every connection, each with the submission that it carried


@contextmanager
def local(workers: int, processes: bool = True) -> Iterator[Client]:
    """Start that many workers on this machine, each with a sandbox of its own, as processes or as threads of this one.

    A thread starts sooner, which is right for a single submission; a process judges faster.
    """
    options = {"processes": processes, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        _short_logs(),
        LocalCluster(n_workers=workers, threads_per_worker=1, silence_logs=logging.CRITICAL, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def remote(address: str) -> Iterator[Client]:
    """Connect to a running Dask scheduler. Raises UserError if none answers, or if it has no workers."""
    try:
        with _short_logs():
            client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        if not client.nthreads():
            raise UserError(f"the Dask scheduler at {address} has no workers: start some with `dask worker {address}`")
        yield client


def _short_logs() -> dask.config.set:
    return dask.config.set({"distributed.admin.low-level-log-length": KEPT_MESSAGES})


def start_sandboxes(client: Client, kind: str) -> None:
    """Start the sandbox of every worker. Raises UserError if one can't, or has more than one thread."""
    threads = max(client.nthreads().values())
    if threads > 1:
        raise UserError(
            f"a worker has {threads} threads, but its sandbox takes one submission at a time: start workers with "
            "--nthreads 1, and more of them"
        )
    client.run(_start, kind)


def _start(kind: str) -> None:
    warm_sandbox(kind)
