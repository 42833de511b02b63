"""Free text without e-mail addresses, card numbers and phone numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import SUPPORTED_REGIONS, PhoneNumberMatcher
from stdnum import luhn

from demand.errors import SettingsError

PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "BR", "IN", "JP", "AU")
"""Whose numbers are known without a country code; with one, all the world's are."""
_SUSPECT = r"@|\p{Nd}(?:[^\p{Nd}]{0,3}\p{Nd}){6}"
"""RE2: where this is not found, nothing is, so few texts are looked at closely."""
_EMAIL = re.compile(r"[^\s@<>()\[\]{},;:\"|]{1,64}@[^\s@<>()\[\]{},;:\"|]{1,255}\.\w{2,}")
_DIGITS = re.compile(r"\d[\d .\u00a0-]*\d")
_CARD_DIGITS = range(14, 20)
"""Longer than an EAN, which people search for."""


class Cleaner:
    """Writes [email], [card] and [phone] in place of what it finds, and counts it.

    Attributes:
        found: how many of each.
    """

    def __init__(self, regions: Sequence[str] = PHONE_REGIONS) -> None:
        """Takes regions by their ISO 3166 code. Raises SettingsError where one has no phone numbers."""
        for region in regions:
            if region not in SUPPORTED_REGIONS:
                raise SettingsError(f"--phone-region {region}: no such region; give a code like US or DE")
        self._regions = regions
        self.found: Counter[str] = Counter()

    def column(self, texts: pa.ChunkedArray) -> pa.Array:
        """A column of texts, nulls among them."""
        array = texts.combine_chunks()
        suspect = pc.fill_null(pc.match_substring_regex(array, _SUSPECT), False)
        if not pc.any(suspect).as_py():
            return array
        cleaned = pa.array([self.text(each) for each in array.filter(suspect).to_pylist()], pa.string())
        return pc.replace_with_mask(array, suspect, cleaned)

    def text(self, text: str) -> str:
        """One text."""
        text = self._without(text, [each.span() for each in _EMAIL.finditer(text)], "email")
        text = self._without(text, _cards(text), "card")
        return self._without(text, self._phones(text), "phone")

    def _phones(self, text: str) -> list[tuple[int, int]]:
        return _apart({(each.start, each.end) for region in self._regions for each in PhoneNumberMatcher(text, region)})

    def _without(self, text: str, spans: Sequence[tuple[int, int]], kind: str) -> str:
        self.found[kind] += len(spans)
        for start, end in reversed(spans):
            text = f"{text[:start]}[{kind}]{text[end:]}"
        return text


def _cards(text: str) -> list[tuple[int, int]]:
    """Groups of digits that together are as long as a card's number, begin like one and have its check digit."""
    found = set()
    for run in _DIGITS.finditer(text):
        groups = list(re.finditer(r"\d+", run.group()))
        for first in range(len(groups)):
            digits = ""
            for group in groups[first : first + _CARD_DIGITS.stop]:
                digits += group.group()
                if len(digits) in _CARD_DIGITS and digits[0] in "23456" and luhn.is_valid(digits):
                    found.add((run.start() + groups[first].start(), run.start() + group.end()))
    return _apart(found)


def _apart(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that are left, in order, where of two that overlap the longer stays."""
    chosen: list[tuple[int, int]] = []
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if all(end <= other[0] or other[1] <= start for other in chosen):
            chosen.append((start, end))
    return sorted(chosen)
