"""The vocabulary: a text tokenizer's tokens, then control tokens, then one token for each catalogue item."""

import json
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from demand.catalogue import Catalogue
from demand.errors import CheckpointError

GAP_DAYS = (0, 1, 2, 3, 4, 6, 8, 11, 15, 22, 29, 43, 61, 91)
"""Lower bounds of the time-gap buckets, in days."""
HORIZON_DAYS = (1, 3, 6, 11, 18, 25, 32, 46, 61)
"""Lower bounds of the buckets of a question's horizon, in days; 28 lies in the middle of its bucket."""
SPEND = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""Lower bounds of the buckets of what an order cost, in currency units."""
LONGEST_HORIZON = 91

CONTROL = (
    "<start>",
    "<next-order>",
    *(f"<within-{days}d>" for days in HORIZON_DAYS),
    *(f"<gap-{days}d>" for days in GAP_DAYS),
    *(f"<spend-{int(amount)}>" for amount in SPEND),
    *(f"<rating-{rating}>" for rating in range(1, 6)),
    "<browsing>",
)
BPE_SIZE = 2_048


class Vocabulary:
    """Token ids: 0 … B-1 text, then the control tokens, then the items in catalogue order.

    Items come last, so that a catalogue can grow without moving any other token.
    """

    def __init__(self, tokenizer: Tokenizer, item_count: int, text_size: int | None = None) -> None:
        """`text_size` is B where a pretrained model has more rows than its tokenizer has tokens."""
        self.tokenizer = tokenizer
        self.tokenizer.encode_special_tokens = True  # a tokenizer's own "<|end|>" in a text is text, too
        self.tokenizer.no_truncation()  # a pretrained one may have both set for its own use
        self.tokenizer.no_padding()
        self.item_count = item_count
        self.first_control = text_size or tokenizer.get_vocab_size()
        self.first_item = self.first_control + len(CONTROL)
        self.control = {name: self.first_control + place for place, name in enumerate(CONTROL)}

    @classmethod
    def train(cls, catalogue: Catalogue, texts: Iterable[str] = ()) -> "Vocabulary":
        """A byte-level BPE learned from the catalogue's names and other texts that prompts may hold."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=BPE_SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator([*map(_written, catalogue.names), *sorted(texts)], trainer)
        return cls(tokenizer, len(catalogue))

    def __len__(self) -> int:
        return self.first_item + self.item_count

    def text(self, text: str) -> list[int]:
        """Token ids of plain text. Nothing in the text can become a control or item token."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def names(self, catalogue: Catalogue) -> list[list[int]]:
        """Token ids of each item's name, as prompts write it."""
        return [self.text(_written(name)) for name in catalogue.names]

    def item(self, index: int) -> int:
        """The token of a catalogue item."""
        return self.first_item + index

    def bucket(self, kind: str, bounds: tuple[float, ...], value: float) -> int:
        """The control token of the bucket that a value falls into."""
        place = max(int(np.searchsorted(bounds, value, side="right")) - 1, 0)
        return self.control[self._bucket_names[kind][place]]

    @cached_property
    def _bucket_names(self) -> dict[str, tuple[str, ...]]:
        return {
            kind: tuple(name for name in CONTROL if name.startswith(f"<{kind}-")) for kind in ("within", "gap", "spend")
        }

    def to_json(self) -> str:
        """Everything needed to rebuild the vocabulary."""
        return json.dumps(
            {
                "control": CONTROL,
                "item_count": self.item_count,
                "text_size": self.first_control,
                "tokenizer": json.loads(self.tokenizer.to_str()),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """The inverse of to_json.

        Raises:
            CheckpointError: the text is damaged or has other control tokens than this version.
        """
        try:
            content = json.loads(text)
            if tuple(content["control"]) != CONTROL:
                raise CheckpointError("the vocabulary's control tokens are of another version: train again")
            tokenizer = Tokenizer.from_str(json.dumps(content["tokenizer"]))
            return cls(tokenizer, int(content["item_count"]), content.get("text_size"))
        except CheckpointError:
            raise
        except Exception as error:  # tokenizers raises bare Exception for a damaged file
            raise CheckpointError(f"the vocabulary is damaged: {error}") from None


def _written(name: str) -> str:
    return f" {name.lower()},"
