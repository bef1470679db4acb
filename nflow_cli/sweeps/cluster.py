"""Pool of Dask workers; the only module that imports Dask."""

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from distributed import Client, WorkerPlugin, get_worker

from nflow_cli.errors import NflowError, one_line
from nflow_cli.sweeps.workers import Outcome, Pool, Workers

CONNECT_SECONDS = 10  # seconds that a scheduler gets to answer


class SweepPlugin(WorkerPlugin):
    """Worker processes of one sweep on each Dask worker, also on those that join later."""

    def __init__(self) -> None:
        self.name = f"nflow-sweep-{uuid.uuid4().hex}"

    def setup(self, worker: Any) -> None:
        """Create an empty set of worker processes."""
        self.workers = Workers()

    async def teardown(self, worker: Any) -> None:
        """End the processes without blocking the Dask worker."""
        await asyncio.to_thread(self.workers.close)


def _train(name: str, request: Mapping[str, Any]) -> Outcome:
    plugin: Any = get_worker().plugins[name]
    return plugin.workers.train(request)


def _interrupt(name: str, number: int, dask_worker: Any) -> None:
    dask_worker.plugins[name].workers.interrupt(number)


@contextmanager
def cluster_pool(address: str) -> Iterator[Pool]:
    """Train on the workers of the Dask scheduler at ``address``, which share the file system."""
    plugin = SweepPlugin()
    name = plugin.name
    with ExitStack() as stack:
        try:
            client = stack.enter_context(
                Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            )
            stack.callback(_unregister, client, name)
            client.register_plugin(plugin)
        except Exception as error:  # OSError, TimeoutError, ValueError: whatever the address brings
            raise NflowError(f"--scheduler {address}: {one_line(error)}") from None
        executor = client.get_executor(pure=False)

        def submit(request: Mapping[str, Any]) -> Any:
            return executor.submit(_train, name, request)

        def interrupt(number: int) -> None:
            with suppress(Exception):  # the machine may be gone
                client.run(_interrupt, name, number, on_error="ignore")

        def slots() -> int:
            threads: Any = client.nthreads()  # by worker
            return sum(threads.values())

        yield Pool(submit, interrupt, slots)


def _unregister(client: Client, name: str) -> None:
    with suppress(Exception):  # the machine may be gone
        client.unregister_worker_plugin(name)
