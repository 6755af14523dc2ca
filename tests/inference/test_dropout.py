"""A dropout rate that is learnt, with the real soil: sites whose carbon depends on their covariates."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from binn_prob.inference import MCDropout
from binn_prob.models import BINN


@pytest.mark.long
def test_a_learned_dropout_rate_is_a_coin_without_data_and_smaller_with_data(split):
    rates = []
    for sites in (split[0].assign(soc=np.nan * split[0]["soc"]), split[0]):
        method = MCDropout("learned", draws=2, steps=1500, learning_rate=0.02, patience=None)
        rates.append(method.fit(jax.random.key(0), BINN(hidden=(4,)), sites, progress=False).attributes["dropout_rate"])
    assert rates[0] == pytest.approx(0.5, abs=0.01)  # the entropy of the masks is all that counts
    assert 0.0 < rates[1] < 0.45
