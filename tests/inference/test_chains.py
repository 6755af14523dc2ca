"""Chains in blocks: the draws of NumPyro's own MCMC, whatever the blocks, the chain method and the interruptions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import infer

import binn_prob.clm5  # noqa: F401  float64
from binn_prob.errors import InputError
from binn_prob.inference.chains import Chains
from binn_prob.inference.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

OBSERVED = jnp.array([0.3, -0.2, 1.0, 0.7])
FIELDS = ("diverging", "num_steps", "energy", "adapt_state.step_size")
KEY = jax.random.key(7)


def model(observed):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.5))
    numpyro.sample("observed", dist.StudentT(4.0, mean, scale), obs=observed)


def starts(chains):
    return {"mean": jnp.linspace(-1.0, 1.0, chains), "scale": jnp.zeros(chains)}


def chains(**options):
    settings = {"chains": 3, "warmup": 45, "draws": 38, "method": "vectorized", "fields": FIELDS} | options
    return Chains(kernel=lambda: infer.NUTS(model), **settings)


def run(made, **options):
    return made.run(KEY, starts(made.chains), OBSERVED, label="nuts", progress=False, **options)


@pytest.fixture(scope="module")
def reference():
    """Draws and fields of NumPyro's own loop."""
    mcmc = infer.MCMC(
        infer.NUTS(model), num_warmup=45, num_samples=38, num_chains=3, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(KEY, OBSERVED, extra_fields=FIELDS, init_params=starts(3))
    return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(group_by_chain=True)


@pytest.mark.parametrize("method", ["vectorized", "sequential"])
def test_the_draws_are_those_of_numpyro(method, reference):
    # Rounding differs between two programs and grows from draw to draw: the first ones tell.
    for found, expected in zip(run(chains(method=method))[:2], reference, strict=True):
        for name, values in found.items():
            np.testing.assert_allclose(values[:, :5], expected[name][:, :5], rtol=1e-4)


def test_steps_are_counted_with_those_of_the_warm_up():
    made = {"counted": "num_steps", "fields": ("num_steps", "diverging"), "draws": 25}
    _, fields, count = run(chains(warmup=15, **made))
    # The same steps, all of them kept: 40 fill the blocks, so that none lies beyond the last draw.
    kernels = infer.MCMC(
        infer.NUTS(model), num_warmup=15, num_samples=25, num_chains=3, chain_method="vectorized", progress_bar=False
    )
    kernels.warmup(KEY, OBSERVED, extra_fields=("num_steps",), init_params=starts(3), collect_warmup=True)
    of_warmup = kernels.get_extra_fields()["num_steps"].sum()
    assert count == of_warmup + fields["num_steps"].sum()
    assert run(chains(draws=25))[2] == 0


def test_a_single_chain_is_parallel_on_a_single_device():
    parallel, sequential = (run(chains(chains=1, method=method)) for method in ("parallel", "sequential"))
    np.testing.assert_allclose(parallel[0]["mean"][:, :5], sequential[0]["mean"][:, :5], rtol=1e-4)


class Killed(BaseException):
    """Stands for a signal."""


class Mortal(Checkpoint):
    """Dies before it saves for the ``life`` + 1st time."""

    life = 0

    def save(self, name, tree):
        if Mortal.life == 0:
            raise Killed
        Mortal.life -= 1
        super().save(name, tree)


@pytest.mark.parametrize(
    ("life", "method"),
    # between draws and state; in the warm-up; before the last save of all; before the first; among the draws
    [
        (7, "vectorized"),
        (9, "sequential"),
        *(pytest.param(life, "vectorized", marks=pytest.mark.long) for life in (0, 24, 33)),
    ],
)
def test_resumed_draws_are_the_same_to_the_last_bit(life, method, tmp_path):
    made = chains(method=method)
    expected = run(made)
    Mortal.life = life
    with pytest.raises(Killed):
        run(made, checkpoint=Mortal(tmp_path))
    resumed = run(made, checkpoint=Checkpoint(tmp_path))
    again = run(made, checkpoint=Checkpoint(tmp_path))  # of a run that had ended
    for other in (resumed, again):
        jax.tree.map(np.testing.assert_array_equal, expected, other)


def test_a_block_that_is_gone_is_drawn_again(tmp_path):
    made = chains()
    expected = run(made, checkpoint=Checkpoint(tmp_path))
    (tmp_path / "draws_12.npz").unlink()
    jax.tree.map(np.testing.assert_array_equal, expected, run(made, checkpoint=Checkpoint(tmp_path)))


@pytest.mark.parametrize(("warmup", "draws"), [(1, 1), (20, 20), (3, 50), (101, 7)])
def test_any_numbers_of_steps(warmup, draws):
    found, fields, _ = run(chains(chains=2, warmup=warmup, draws=draws))
    assert found["mean"].shape == fields["energy"].shape == (2, draws)
    assert np.isfinite(found["mean"]).all()
    assert len(np.unique(fields["adapt_state.step_size"][0])) == 1  # no draw is of the warm-up


def test_too_few_devices_for_parallel_chains():
    with pytest.raises(InputError, match="64 parallel chains"):
        run(chains(chains=64, method="parallel"))


def test_progress_is_shown_when_asked(capsys):
    made = chains(chains=2)
    made.run(KEY, starts(2), OBSERVED, label="a label")
    assert "a label" in capsys.readouterr().err
