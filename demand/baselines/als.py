"""Matrix factorisation for implicit feedback, by the package `implicit` (an extra: demandcast[baselines])."""

import numpy as np

from demand.baselines.problem import Problem

ITERATIONS = 15
SEED = 7


def implicit_als(problem: Problem, factors: int = 64, regularization: float = 10.0, alpha: float = 0.1) -> np.ndarray:
    """Alternating least squares (Hu, Koren & Volinsky, ICDM 2008) on how many orders held each item.

    An item that was bought weighs alpha * count in the fit, one that was not weighs 1; the score is the product of
    customer and item factors.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # its own threads work on rows; BLAS threads inside them only get in the way
        model = AlternatingLeastSquares(
            factors=factors, regularization=regularization, alpha=alpha, iterations=ITERATIONS, random_state=SEED
        )
        model.fit(problem.counts.astype(np.float32), show_progress=False)
    scores: np.ndarray = model.user_factors[: problem.asked] @ model.item_factors.T
    return scores
