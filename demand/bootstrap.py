"""Bootstrap intervals over customers (Efron, 1979): what means could have been with other customers.

All columns are resampled with the same draws, so that differences between columns are paired.
"""

import numpy as np

RESAMPLES = 2000
SEED = 20170101
COVERAGE = 0.95
_CELLS = 4_000_000
"""Weights held at a time, so that memory does not grow with the number of customers."""


def resampled_means(values: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """The mean of each column over rows drawn with replacement, again and again. (R, M) -> (resamples, M).

    How often each row is drawn is a multinomial count, so one matrix product gives the means of many resamples.
    """
    rows = len(values)
    rng = np.random.default_rng(seed)
    block = max(_CELLS // rows, 1)
    means = [np.zeros((0, values.shape[1]))]
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        means.append(counts @ values / rows)
    return np.concatenate(means)


def interval(resampled: np.ndarray, coverage: float = COVERAGE) -> np.ndarray:
    """The percentile interval of each column: (resamples, M) -> (2, M), low and high."""
    tail = (1 - coverage) / 2
    ends: np.ndarray = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return ends
