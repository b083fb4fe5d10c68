"""Running requests somewhere, and their replies as they come in."""

from collections.abc import Iterable, Iterator

from kerastl.search.requests import Reply, Request
from kerastl.search.sharing import SharedArrays


def run_requests(
    requests: Iterable[Request],
    *,
    function: str = "kerastl.search.trials:run_trial",
    shared: SharedArrays | None = None,
    executor: str = "loky",
    jobs: int = 1,
    threads: int | None = None,
    seconds: float | None = None,
    address: str | None = None,
    gpus: float = 0,
) -> Iterator[Reply]:
    """Run requests in worker processes and yield each reply when it comes in."""
    raise NotImplementedError
    yield
