from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import init_to_sample
from numpyro.infer.autoguide import AutoDelta

from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.training import train

MEMBERS = 8


def two_modes(observed):
    location = numpyro.sample("location", dist.Normal(0.0, 2.0).expand((2,)).to_event(1))
    scale = numpyro.sample("scale", dist.LogNormal())
    numpyro.sample("observed", dist.Normal(jnp.prod(location), scale), obs=observed)


def fit(checkpoint=None):
    family = partial(AutoDelta, two_modes, init_loc_fn=init_to_sample)
    trained = train(
        jax.random.key(0), two_modes, family, jnp.array([4.0, 4.1, 3.9]), steps=1500, learning_rate=0.05,
        members=MEMBERS, progress=False, checkpoint=checkpoint,
    )  # fmt: skip
    return jax.tree.map(np.asarray, jax.vmap(trained.guide.median)(trained.parameters)), np.asarray(trained.losses)


def test_members_find_every_mode_from_starts_of_their_own():
    points, losses = fit()
    assert points["location"].shape == (MEMBERS, 2)
    assert losses.shape == (1500,)
    assert set(np.sign(points["location"][:, 0])) == {-1.0, 1.0}
    np.testing.assert_allclose(np.abs(points["location"]), 2.0, atol=0.05)
    assert (points["scale"] > 0.0).all()


def test_a_killed_ensemble_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    whole, whole_losses = fit()
    save = Checkpoint.save

    def save_and_die(self, name, tree):
        save(self, name, tree)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            fit(Checkpoint(tmp_path))
    resumed, losses = fit(Checkpoint(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    np.testing.assert_array_equal(losses, whole_losses)
