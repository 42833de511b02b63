"""Who takes part: a company's list of its customers and their consent."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demand.errors import DataError
from demand.locations import Location, local, reason
from demand.privacy.pseudonyms import PseudonymKey
from demand.validation import split_rows

ANSWERS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


class Consent:
    """The customers who gave it. Whoever a list does not name gave none."""

    def __init__(self, given: pa.Array) -> None:
        self._given = given

    @classmethod
    def read(cls, file: Location) -> "Consent":
        """A CSV or Parquet file with the columns customer_id and consent, which is true or false, yes or no, 1 or 0.

        An empty cell is a no, and where a customer stands in several rows, one no is enough. Without a column consent,
        all who are named gave it.

        Raises:
            DataError: the file cannot be read, lacks customer_id, or holds another answer.
        """
        with local(file) as here:
            rows = _rows(here)
        if "consent" not in rows:
            rows["consent"] = "true"
        answers = rows["consent"].astype("string").fillna("").str.strip().str.lower().map(ANSWERS)
        if (unknown := answers.isna()).any():
            raise DataError(
                f"{file}, row {int(np.flatnonzero(unknown)[0]) + 1}: consent must be true or false, yes or no, 1 or 0"
            )
        people, reasons = split_rows("customers", rows[["customer_id"]], str(file))
        yes = pa.array(answers[reasons.isna()].astype(bool))
        ids = people["customer_id"].combine_chunks()
        given, refused = ids.filter(yes), ids.filter(pc.invert(yes))
        return cls(given.filter(pc.invert(pc.is_in(given, refused))))

    def by_pseudonym(self, key: PseudonymKey) -> "Consent":
        """The same customers as a dataset with pseudonyms calls them."""
        return Consent(key.customers(pa.chunked_array([self._given])))

    def given(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether each customer gave it."""
        return pc.is_in(ids, self._given)


def _rows(file: Path) -> pd.DataFrame:
    try:
        if file.suffix == ".parquet":
            rows: pd.DataFrame = pq.read_table(file).to_pandas(integer_object_nulls=True)
        else:
            rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except OSError as error:
        raise DataError(f"--consent {file}: {reason(error)}") from None
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"--consent {file} cannot be read: {str(error).splitlines()[0]}") from None
    if "customer_id" not in rows:
        raise DataError(f"--consent {file}: no column 'customer_id'")
    return rows
