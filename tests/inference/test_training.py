from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.autoguide import AutoDelta

from binn_prob.inference.training import train


def model(observed):
    numpyro.sample("observed", dist.Normal(numpyro.sample("mean", dist.Normal(0.0, 10.0)), 1.0), obs=observed)


def fit(**options):
    return train(
        jax.random.key(0), model, AutoDelta(model), jnp.array(3.0), learning_rate=0.1, progress=False, **options
    )


def test_it_finds_the_maximum_of_the_posterior():
    trained = fit(steps=1000)
    np.testing.assert_allclose(trained.guide.median(trained.parameters)["mean"], 3.0 / (1.0 + 1.0 / 100.0), rtol=1e-4)


def test_it_stops_early_only_when_asked():
    assert len(fit(steps=2000).losses) == 2000
    assert len(fit(steps=2000, patience=1).losses) < 2000


def test_progress_is_shown_when_asked(capsys):
    train(jax.random.key(0), model, AutoDelta(model), jnp.array(3.0), learning_rate=0.1, steps=200, label="a label")
    assert "a label" in capsys.readouterr().err
