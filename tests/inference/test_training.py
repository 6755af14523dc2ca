from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.autoguide import AutoDelta

from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.training import train


def model(observed):
    numpyro.sample("observed", dist.Normal(numpyro.sample("mean", dist.Normal(0.0, 10.0)), 1.0), obs=observed)


FAMILY = partial(AutoDelta, model)


def fit(**options):
    return train(jax.random.key(0), model, FAMILY, jnp.array(3.0), learning_rate=0.1, progress=False, **options)


def test_it_finds_the_maximum_of_the_posterior():
    trained = fit(steps=1000)
    np.testing.assert_allclose(trained.guide.median(trained.parameters)["mean"], 3.0 / (1.0 + 1.0 / 100.0), rtol=1e-4)


def test_it_stops_early_only_when_asked():
    assert len(fit(steps=2000).losses) == 2000
    assert len(fit(steps=2000, patience=1).losses) < 2000


def test_progress_is_shown_when_asked(capsys):
    train(
        jax.random.key(0),
        model,
        FAMILY,
        jnp.array(3.0),
        learning_rate=0.1,
        steps=200,
        label="a label",
    )
    assert "a label" in capsys.readouterr().err


class Killed(BaseException):
    """Stands for a signal."""


class Mortal(Checkpoint):
    """Dies when it has saved once."""

    def save(self, name, tree):
        super().save(name, tree)
        raise Killed


def test_a_killed_training_goes_on_to_the_same_end(tmp_path):
    expected = fit(steps=2500)
    with pytest.raises(Killed):
        fit(steps=2500, checkpoint=Mortal(tmp_path))
    for _ in range(2):  # what was killed, and what had ended
        resumed = fit(steps=2500, checkpoint=Checkpoint(tmp_path))
        np.testing.assert_array_equal(resumed.losses, expected.losses)
        jax.tree.map(np.testing.assert_array_equal, resumed.parameters, expected.parameters)


def test_a_training_that_stopped_early_stays_stopped(tmp_path):
    stopped, again = (fit(steps=2000, patience=1, checkpoint=Checkpoint(tmp_path)) for _ in range(2))
    assert len(stopped.losses) < 2000
    np.testing.assert_array_equal(stopped.losses, again.losses)
