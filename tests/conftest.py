"""What every test runs under."""

import os

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores among parallel test processes: torch would give all of them to each."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what parallel processes must not divide, and skip what needs CUDA where there is none.

    The tests of a file share what they made; those with Label Studio share the one that runs.
    """
    for item in items:
        together = "e2e" if item.get_closest_marker("e2e") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(together))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))
