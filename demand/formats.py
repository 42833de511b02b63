"""Prompt formats: how a customer's history becomes a token sequence. Declared, not coded; Tune picks among them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from demand.errors import SettingsError

ContextField = Literal["profile", "reviews", "browsing", "spend"]


class PromptFormat(BaseModel):
    """One way to write a customer's history.

    Attributes:
        name: what the format is called in settings, sweeps and answers.
        fields: what is written beside orders: profile (attributes), reviews, browsing, spend (of each order).
        items: each item as one token of its own, or as its name in text.
        item_order: within an order, by amount paid (highest first) or in catalogue order.
        gaps: days since the previous order as one token, in words, or not at all.
        history_tokens: the most recent tokens of history that fit; older orders are left out.
        instruction: text in front of everything, for pretrained models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fields: frozenset[ContextField] = frozenset()
    items: Literal["token", "name"] = "token"
    item_order: Literal["amount", "catalogue"] = "amount"
    gaps: Literal["token", "words", "none"] = "token"
    history_tokens: int = Field(default=1024, ge=32, le=131_072)
    instruction: str = Field(default="", max_length=4_000)

    @field_serializer("fields", when_used="json")
    def _in_one_order(self, fields: frozenset[str]) -> list[str]:
        """A set's order differs from process to process; the same settings must be the same text."""
        return sorted(fields)


FORMATS: dict[str, PromptFormat] = {
    each.name: each
    for each in (
        PromptFormat(name="compact"),
        PromptFormat(name="profile", fields=frozenset({"profile", "reviews", "browsing", "spend"})),
        PromptFormat(name="names", items="name"),
        PromptFormat(
            name="narrative",
            fields=frozenset({"profile", "reviews", "browsing"}),
            items="name",
            gaps="words",
            instruction="What will this customer want next?",
        ),
    )
}


def prompt_format(name: str) -> PromptFormat:
    """A format by its name.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in FORMATS:
        raise SettingsError(f"no prompt format '{name}': choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
