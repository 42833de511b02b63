"""What a model is made of, typed once."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["gpt_neox", "gpt2", "llama", "qwen2", "qwen3", "t5"]


class ModelSettings(BaseModel):
    """The shape of a model.

    Attributes:
        architecture: gpt is Megatron-core's decoder, GPTModel; t5 its encoder and decoder, T5Model, of which the
            encoder reads the history and the decoder answers the question.
        family: what transformers calls a model of this shape; decides how weights come in and go out.
        layers: of the decoder, and of the encoder where there is one.
        hidden: width D.
        key_value_heads: heads of keys and values, which groups of query heads share; by default as many as heads.
        head_width: width of a head; by default hidden / heads.
        ffn: width of the feed-forward layers.
        habit_width: width of the network that weighs the customer's habits.
        calendar: whether the day of a question says what sells then, in general; worth much where other customers'
            orders of that day were learned from (protocol taiw), little of days that are still to come.
        dropout: share of hidden values dropped in training.
        norm, norm_epsilon: layer normalisation or its root-mean-square form, and what it adds to the variance.
        activation: of the feed-forward layers; gelu_tanh is GELU's approximation, swiglu and geglu_tanh have a gate
            beside it.
        bias, qkv_bias: whether linear layers, and those of queries, keys and values, add a bias.
        qk_norm: whether queries and keys are normalised head by head.
        positions: rotary; learned for so many places as `places` says; or relative, T5's bias by distance.
        rope_base, rope_scaling: period and, for Llama 3, factor of the rotary embedding.
        language_head: whether the model can also predict the next token of text: not at all, with the rows of its
            input embedding (tied), or with rows of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["gpt", "t5"] = "gpt"
    family: Family = "gpt_neox"
    layers: int = Field(default=2, ge=1, le=256)
    hidden: int = Field(default=128, ge=8, le=32_768)
    heads: int = Field(default=4, ge=1, le=256)
    key_value_heads: int | None = Field(default=None, ge=1, le=256)
    head_width: int | None = Field(default=None, ge=2, le=1_024, multiple_of=2)
    ffn: int = Field(default=512, ge=8, le=131_072)
    habit_width: int = Field(default=128, ge=8, le=4_096)
    calendar: bool = False
    dropout: float = Field(default=0.1, ge=0, lt=1)
    norm: Literal["layer", "rms"] = "layer"
    norm_epsilon: float = Field(default=1e-5, gt=0, lt=1)
    activation: Literal["gelu", "gelu_tanh", "relu", "swiglu", "geglu_tanh"] = "gelu"
    bias: bool = True
    qkv_bias: bool = True
    qk_norm: bool = False
    positions: Literal["rotary", "learned", "relative"] = "rotary"
    places: int | None = Field(default=None, ge=1, le=1_048_576)
    rope_base: float = Field(default=10_000.0, gt=0)
    rope_scaling: float | None = Field(default=None, gt=0)
    language_head: Literal["none", "tied", "own"] = "none"

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.key_value_heads or self.heads

    @property
    def width(self) -> int:
        """Width of a head."""
        return self.head_width or self.hidden // self.heads

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layers have a gate."""
        return self.activation in ("swiglu", "geglu_tanh")

    @property
    def words(self) -> str:
        """The name of the parameter whose rows are the tokens' embeddings."""
        return f"{self.architecture}.embedding.word_embeddings.weight"

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        encoder = self.architecture == "t5"
        if encoder != (self.family == "t5") or encoder != (self.positions == "relative"):
            raise ValueError("architecture t5, family t5 and relative positions go together")
        if encoder and (self.groups != self.heads or self.qk_norm):
            raise ValueError("architecture t5 has neither key_value_heads nor qk_norm")
        return self

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        if self.head_width is None and self.hidden % (2 * self.heads):
            raise ValueError(f"hidden {self.hidden} must be a multiple of twice the heads, {2 * self.heads}")
        if self.heads % self.groups:
            raise ValueError(f"heads {self.heads} must be a multiple of key_value_heads {self.groups}")
        if (self.positions == "learned") != (self.places is not None):
            raise ValueError("places must be given for learned positions, and only for them")
        return self


class LoraSettings(BaseModel):
    """How much of a pretrained model is learned.

    Attributes:
        rank: of the product that each matrix learns by; 0 learns all weights themselves.
        alpha: weight of the product, times the rank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=0, ge=0, le=1_024)
    alpha: float = Field(default=32.0, gt=0)

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / self.rank if self.rank else 0.0
