"""Membership inference: what an attack's scores say."""

import numpy as np
import pytest

from demand.privacy.inference import Auc, infer


def test_the_auc_is_the_share_of_pairs_in_which_a_member_is_ahead() -> None:
    found = Auc.of(np.array([3.0, 1.0]), np.array([2.0, 1.0, 0.0]))  # ahead of 3 of 3; of 1, and level with 1

    assert found.auc == pytest.approx((3 + 1.5) / 6)
    assert found.low <= found.auc <= found.high


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    shift, truth = 0.5, 0.6382  # the chance that a normal variable is ahead of one that is .5 lower: Phi(.5 / sqrt 2)

    found = [Auc.of(rng.normal(shift, 1, 150), rng.normal(0, 1, 100)) for _ in range(200)]

    assert 0.9 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.99


def test_the_stronger_attack_is_measured_on_customers_who_had_no_say_in_the_choice() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.normal(0, 1, 300) for _ in range(3)]

    found = infer({"good": noise[0] + 1, "luck": noise[1]}, {"good": noise[2], "luck": noise[0]})

    assert found.attack == "good"
    assert (found.members, found.others) == (300, 300)
    assert found.result.low > 0.6
    assert found.attacks["luck"].low < 0.5 < found.attacks["luck"].high
    assert found.result.high - found.result.low > found.attacks["good"].high - found.attacks["good"].low
