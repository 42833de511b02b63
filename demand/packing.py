"""Packing: several prompts end to end as one record of flat arrays, the row that travels through Ray Data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from demand.habits import Habits, habits
from demand.prompts import Prompt
from demand.record import COLUMNS, Record

TYPES: dict[str, type] = {
    "tokens": np.int32,
    "lengths": np.int32,
    "queries": np.int32,
    "query_counts": np.int32,
    "moments": np.int64,
    "horizons": np.int32,
    "waits": np.float32,
    "targets": np.int32,
    "target_counts": np.int32,
    "lines": np.int32,
    **{f"record_{name}": type for name, type in COLUMNS.items()},
}
"""The arrays of a pack: tokens; of each prompt its length and how many queries and record lines it has; of each query
its position, moment, horizon, wait and number of targets; the targets; the lines of the records."""


def pack(prompts: Sequence[Prompt]) -> dict[str, np.ndarray]:
    """Prompts as one record of flat arrays, by the names in TYPES. Query positions count from the start of the pack."""
    lengths = [len(prompt) for prompt in prompts]
    starts = np.cumsum([0, *lengths[:-1]])
    arrays = {
        "tokens": [prompt.tokens for prompt in prompts],
        "queries": [prompt.queries + start for prompt, start in zip(prompts, starts, strict=True)],
        "moments": [prompt.moments for prompt in prompts],
        "horizons": [prompt.horizons for prompt in prompts],
        "waits": [prompt.waits for prompt in prompts],
        "targets": [target for prompt in prompts for target in prompt.targets],
        **{f"record_{name}": [getattr(prompt.record, name) for prompt in prompts] for name in COLUMNS},
    }
    counts = {
        "lengths": lengths,
        "query_counts": [len(prompt.queries) for prompt in prompts],
        "target_counts": [len(target) for prompt in prompts for target in prompt.targets],
        "lines": [len(prompt.record) for prompt in prompts],
    }
    packed = {name: np.concatenate([*parts, np.zeros(0, TYPES[name])]) for name, parts in arrays.items()}
    return {name: np.asarray({**packed, **counts}[name], dtype=type) for name, type in TYPES.items()}


def grouped(prompts: Iterable[Prompt], tokens: int, padded: bool = False) -> Iterator[list[Prompt]]:
    """Prompts in a row up to a number of tokens; one that is longer stands alone.

    Args:
        padded: counts each as long as the longest of its group, for a model that reads them side by side.
    """
    group: list[Prompt] = []
    for prompt in prompts:
        lengths = [*map(len, group), len(prompt)]
        if group and (len(lengths) * max(lengths) if padded else sum(lengths)) > tokens:
            yield group
            group = []
        group.append(prompt)
    if group:
        yield group


def packed_habits(arrays: Mapping[str, np.ndarray]) -> Habits:
    """The habits at every query of a pack; queries are numbered through."""
    found = []
    first_query, first_line = 0, 0
    for queries, lines in zip(arrays["query_counts"].tolist(), arrays["lines"].tolist(), strict=True):
        own = slice(first_line, first_line + lines)
        asked = slice(first_query, first_query + queries)
        record = Record(**{name: arrays[f"record_{name}"][own] for name in COLUMNS})
        met = habits(record, arrays["moments"][asked], arrays["horizons"][asked])
        found.append(met._replace(query_P=met.query_P + first_query))
        first_query, first_line = asked.stop, own.stop
    return Habits(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
