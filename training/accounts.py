"""How much noise keeps a promise of differential privacy, by Opacus's accounts of it."""

from dataclasses import dataclass
from typing import Self

from demand.errors import SettingsError
from training.settings import PrivacySettings


@dataclass(frozen=True)
class Account:
    """How a run keeps its promise.

    Attributes:
        noise: standard deviation of what each step adds, in clips.
        rate: chance of each customer to be drawn for a step.
        customers_per_step: how many are drawn for one, on average.
        steps: how many there are.
    """

    noise: float
    rate: float
    customers_per_step: int
    steps: int

    @classmethod
    def of(cls, privacy: PrivacySettings, customers: int, epochs: int) -> Self:
        """With just enough noise, by numerical composition of what steps give away (Gopi et al., NeurIPS 2021,
        arXiv:2106.02848).

        Args:
            privacy: with an epsilon.
            customers: whom each step draws from.
            epochs: how often each is drawn, on average.

        Raises:
            SettingsError: Opacus is not installed, or no noise is enough.
        """
        try:
            from opacus.accountants.utils import get_noise_multiplier  # takes seconds to load
        except ImportError:
            raise SettingsError("privacy.epsilon needs Opacus: pip install 'demandcast[privacy]'") from None
        drawn = min(privacy.customers_per_step, customers)
        rate = drawn / customers
        steps = max(round(epochs / rate), 1)
        target = {"target_epsilon": privacy.epsilon, "target_delta": privacy.delta}
        try:
            noise = get_noise_multiplier(**target, sample_rate=rate, steps=steps, accountant="prv")
        except ValueError:
            raise SettingsError(f"no noise keeps privacy.epsilon {privacy.epsilon:g} for {steps} steps") from None
        return cls(float(noise), rate, drawn, steps)
