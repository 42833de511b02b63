"""Packing: several prompts end to end as one record of flat arrays, the row that travels through Ray Data."""

from collections.abc import Sequence

import numpy as np

from demand.prompts import Prompt

COLUMNS = ("tokens", "items", "ages", "orders", "lengths", "queries", "targets", "target_counts")


def pack(prompts: Sequence[Prompt]) -> dict[str, np.ndarray]:
    """Prompts as one record of flat arrays, by the names in COLUMNS.

    Query positions count from the start of the pack.
    """
    lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
    targets = [target for prompt in prompts for target in prompt.targets]
    return {
        "tokens": np.concatenate([prompt.tokens for prompt in prompts]),
        "items": np.concatenate([prompt.items for prompt in prompts]),
        "ages": np.concatenate([prompt.ages for prompt in prompts]),
        "orders": np.concatenate([prompt.orders for prompt in prompts]),
        "lengths": lengths,
        "queries": np.concatenate(
            [prompt.queries + start for prompt, start in zip(prompts, starts, strict=True)]
        ).astype(np.int32),
        "targets": np.concatenate([*targets, np.zeros(0)]).astype(np.int32),
        "target_counts": np.array([len(target) for target in targets], dtype=np.int32),
    }
