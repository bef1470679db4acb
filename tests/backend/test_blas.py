"""One thread of BLAS while any thread of the process asks for it."""

import threadpoolctl

from nflow_cli.backend.blas import one_blas_thread


def counts():
    return [each["num_threads"] for each in threadpoolctl.threadpool_info() if of_blas(each)]


def of_blas(pool):
    return pool["user_api"] == "blas"


def test_blas_has_one_thread_within_and_as_many_as_before_behind():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = counts()
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # as of threads that overlap
        assert set(counts()) == {1}
        second.__exit__(None, None, None)
        assert counts() == before
