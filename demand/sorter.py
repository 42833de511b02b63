"""Rows in the order of their keys, however many there are: an external merge sort over Arrow tables.

Rows are sorted in runs that fit memory and lie on disk; the runs are then read side by side, a block of each at a time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

RUN_BYTES = 64 << 20
"""Of a run in memory, where sorting needs it twice."""
FAN_IN = 32
"""Runs read side by side; where there are more, so many at a time are first merged into one."""


class Sorter:
    """Takes rows as they come and gives them back sorted; rows of equal keys stay in the order that they came in.

    Memory holds some two runs, however many rows there are.
    """

    def __init__(self, schema: pa.Schema, keys: Sequence[str], folder: Path, run_bytes: int = RUN_BYTES) -> None:
        """Runs lie in `folder`, which is made where it is needed and the caller's to remove. No key may be null."""
        self._schema, self._keys, self._folder, self._run_bytes = schema, keys, folder, run_bytes
        self._waiting: list[pa.Table] = []
        self._runs: list[Path] = []
        self._written = 0

    def add(self, rows: pa.Table) -> None:
        """Takes rows of the schema."""
        self._waiting.append(rows)
        if sum(each.nbytes for each in self._waiting) >= self._run_bytes:
            self._spill()

    def tables(self) -> Iterator[pa.Table]:
        """All rows in the order of their keys, some at a time. They can be asked for once."""
        if not self._runs:
            yield self._sorted(self._waiting)
            return
        if any(map(len, self._waiting)):
            self._spill()
        while len(self._runs) > FAN_IN:
            groups = [self._runs[start : start + FAN_IN] for start in range(0, len(self._runs), FAN_IN)]
            self._runs = [self._write(self._merged(group)) for group in groups]
        yield from self._merged(self._runs)

    def _spill(self) -> None:
        self._runs.append(self._write([self._sorted(self._waiting)]))
        self._waiting = []
        pa.default_memory_pool().release_unused()  # which else keeps the gaps that runs leave

    def _merged(self, files: Sequence[Path]) -> Iterator[pa.Table]:
        """Runs of rows that came one after the other.

        Of every run some rows are held. Those before the least of their ends can go, for no run has more of them; then
        the run which that end is of gives its next block.
        """
        runs = dict(enumerate(map(_blocks, files)))
        held = [next(run) for run in runs.values()]
        while runs:
            ends = {place: self._key(held[place], len(held[place]) - 1) for place in runs}
            place = min(ends, key=ends.__getitem__)
            cuts = [bisect_left(range(len(rows)), ends[place], key=partial(self._key, rows)) for rows in held]
            if any(cuts):
                yield self._sorted([rows.slice(0, cut) for rows, cut in zip(held, cuts, strict=True)])
            held = [rows.slice(cut) for rows, cut in zip(held, cuts, strict=True)]
            if (block := next(runs[place], None)) is not None:
                held[place] = pa.concat_tables([held[place], block])
            else:
                del runs[place]
        yield self._sorted(held)

    def _key(self, rows: pa.Table, row: int) -> tuple[Any, ...]:
        return tuple(rows[key][row].as_py() for key in self._keys)

    def _sorted(self, tables: Iterable[pa.Table]) -> pa.Table:
        """Arrow's sort is stable."""
        rows = pa.concat_tables([self._schema.empty_table(), *tables])
        return rows.sort_by([(key, "ascending") for key in self._keys]).combine_chunks()

    def _write(self, tables: Iterable[pa.Table]) -> Path:
        """Makes a run of sorted rows, in blocks of which two of every run that is merged are as large as one run."""
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{self._written}.arrow"
        self._written += 1
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, self._schema, options=_LZ4) as stream:
            for table in tables:
                rows = len(table) * self._run_bytes // (2 * FAN_IN * max(table.nbytes, 1))
                stream.write_table(table, max_chunksize=max(rows, 1))
        return file


def _blocks(file: Path) -> Iterator[pa.Table]:
    """A run's rows; its file is gone once they were read."""
    with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            yield pa.Table.from_batches([batch])
    file.unlink()


_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
