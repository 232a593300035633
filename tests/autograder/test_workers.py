"""Dask workers that grade a class use no more memory at its end than at its beginning."""

import gc

from autograder import workers


class Notebook:
    """Stands for what travels to a worker."""


def judge(notebook: Notebook, number: int) -> int:
    return number


def test_what_a_worker_has_judged_is_forgotten():
    with workers.local(1, processes=False) as client:
        for number in range(5 * workers.KEPT_MESSAGES):
            future = client.submit(judge, Notebook(), number, pure=False)
            assert future.result() == number
            future.release()
        gc.collect()
        left = sum(type(thing) is Notebook for thing in gc.get_objects())
    assert left <= 3 * workers.KEPT_MESSAGES  # client, scheduler and worker keep that many messages each
