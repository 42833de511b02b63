"""What a model is made of, typed once."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelSettings(BaseModel):
    """The shape of a model.

    Attributes:
        architecture: gpt is Megatron-core's decoder, GPTModel.
        hidden: width D.
        ffn: width of the feed-forward layers.
        dropout: share of hidden values dropped in training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["gpt"] = "gpt"
    layers: int = Field(default=2, ge=1, le=256)
    hidden: int = Field(default=128, ge=8, le=32_768)
    heads: int = Field(default=4, ge=1, le=256)
    ffn: int = Field(default=512, ge=8, le=131_072)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden {self.hidden} must be a multiple of twice the heads, {2 * self.heads}")
        return self
