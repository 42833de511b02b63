"""Pseudonyms: in place of an id its keyed hash (HMAC-SHA256, RFC 2104), which nobody without the key can undo or make.

An application that asks about a customer makes the same pseudonym in a line:

    hmac.new(key, customer_id.encode(), hashlib.sha256).hexdigest()[:32]
"""

import hmac
import os

import pyarrow as pa

from demand.errors import SettingsError
from demand.locations import Location, reason

KEY_VARIABLE = "DEMANDCAST_PSEUDONYM_KEY"
SHORTEST_KEY = 16
LENGTH = 32
"""Hexadecimal digits of a pseudonym, 128 bits: two of ten billion ids share one with a chance of 1e-19."""


class PseudonymKey:
    """A secret that turns ids into pseudonyms. It is held in memory only, and never printed."""

    def __init__(self, secret: bytes) -> None:
        """Raises SettingsError where it is too short to be a secret."""
        if len(secret) < SHORTEST_KEY:
            raise SettingsError(
                f"a pseudonym key needs {SHORTEST_KEY} bytes or more, this one has {len(secret)}: "
                "make one with 'openssl rand -hex 32'"
            )
        self._secret = secret

    @classmethod
    def of(cls, file: Location | None) -> "PseudonymKey | None":
        """The key that a file holds, or else the environment, without the white space around it; None if neither does.

        Raises:
            SettingsError: the file cannot be read, or the key is too short.
        """
        if file is None:
            text = os.environ.get(KEY_VARIABLE)
            return cls(text.strip().encode()) if text else None
        try:
            return cls(file.read_text().strip().encode())
        except OSError as error:
            raise SettingsError(f"--pseudonym-key {file}: {reason(error)}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"--pseudonym-key {file}: a key is text; 'openssl rand -hex 32' makes one") from None

    @property
    def fingerprint(self) -> str:
        """What tells keys apart, and nothing else about them."""
        return self._digest(b"demandcast: fingerprint of this key")

    def customer(self, customer_id: str) -> str:
        """The pseudonym of a customer."""
        return self._digest(customer_id.encode())

    def customers(self, ids: pa.ChunkedArray) -> pa.Array:
        """The same of a column of ids."""
        return self._of_column(ids, b"")

    def orders(self, ids: pa.ChunkedArray) -> pa.Array:
        """Of order ids, which lead to the customer wherever the shop keeps its orders."""
        return self._of_column(ids, b"order\0")

    def _of_column(self, ids: pa.ChunkedArray, prefix: bytes) -> pa.Array:
        """Each id of a column is hashed once."""
        encoded = ids.combine_chunks().dictionary_encode()
        made = pa.array([self._digest(prefix + each.encode()) for each in encoded.dictionary.to_pylist()], pa.string())
        return made.take(encoded.indices)

    def _digest(self, message: bytes) -> str:
        return hmac.digest(self._secret, message, "sha256").hex()[:LENGTH]
