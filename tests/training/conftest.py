"""Runs that nothing disturbs, once for all tests that compare with them."""

import pytest

from demand.dataset import Dataset
from tests.training.runs import losses, plan
from training.run import Prepared, fit, prepare


@pytest.fixture(scope="session")
def one(ray_cluster: None, shop: Dataset) -> Prepared:
    """A run with one worker."""
    return prepare(plan(shop, microbatch_tokens=256))


@pytest.fixture(scope="session")
def two(ray_cluster: None, shop: Dataset) -> Prepared:
    """The same run with two workers."""
    return prepare(plan(shop, workers=2, microbatch_tokens=256, reports_per_epoch=3, max_failures=3))


@pytest.fixture(scope="session")
def undisturbed(one: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The loss curve of one worker."""
    return losses(fit(one, "one", tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="session")
def undisturbed_with_two(two: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The loss curve of two workers."""
    return losses(fit(two, "two", tmp_path_factory.mktemp("runs"), processors=1))
