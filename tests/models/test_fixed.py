"""Parameters that are held at given values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import seed, trace

from binn_prob.clm5 import DEFAULTS, NAMES, physical
from binn_prob.clm5.parameters import ranges
from binn_prob.errors import InputError
from binn_prob.models import BINN, MODELS, NeuralPrior, SiteModel, at_defaults
from binn_prob.models.fixed import with_fixed

FOUR = ("efolding", "tau4s3", "fs1s3", "w-scaling")
EVERY = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@EVERY
def test_fixed_parameters_have_their_values_and_the_others_vary(make, sites):
    model = make(fixed={"w-scaling": 1.0, "q10": 2.0})
    profiles = model.prepare(sites, model.encode(sites))
    run = jax.jit(jax.vmap(lambda key: trace(seed(model, key)).get_trace(profiles)["parameters"]["value"]))
    parameters = np.asarray(run(jax.random.split(jax.random.key(0), 2)))
    for place, name in enumerate(NAMES):
        if name in ("q10", "w-scaling"):
            assert set(parameters[..., place].ravel()) == {dict(model.fixed)[name]}
        else:
            assert np.ptp(parameters[..., place]) > 0.0


@pytest.mark.parametrize(("model", "latent", "count"), [(SiteModel, "offsets", 4), (NeuralPrior, "offsets", 4)])
def test_sites_have_latents_for_the_free_parameters_only(model, latent, count, sites):
    model = model(fixed=at_defaults(FOUR))
    profiles = model.prepare(sites, model.encode(sites))
    assert trace(seed(model.prior, 0)).get_trace(profiles)[latent]["value"].shape == (sites.sizes["site"], count)
    assert model.free == FOUR


def test_the_network_has_outputs_for_the_free_parameters_only(sites):
    def weights(model):
        return trace(seed(model.prior, 0)).get_trace(model.prepare(sites, model.encode(sites)))["weights"]["value"].size

    outputs_dropped = len(NAMES) - len(FOUR)
    assert weights(BINN()) - weights(BINN(fixed=at_defaults(FOUR))) == outputs_dropped * (8 + 1)


@pytest.mark.parametrize("ranges_name", ["binn", "proda"])
def test_defaults_are_those_of_clm5_within_the_ranges(ranges_name):
    fixed = at_defaults(("q10",), ranges_name)
    assert list(fixed) == [name for name in NAMES if name != "q10"]
    high = dict(zip(NAMES, ranges(ranges_name)[:, 1], strict=True))
    outside = {name for name, default in zip(NAMES, DEFAULTS, strict=True) if name in fixed and fixed[name] != default}
    assert outside == {"efolding", "fs1s2"}
    assert all(fixed[name] == high[name] for name in outside)
    assert SiteModel(fixed=fixed, ranges=ranges_name).free == ("q10",)


def test_free_parameters_are_mapped_as_ever():
    unit = jax.random.uniform(jax.random.key(0), (3, len(NAMES)))
    whole = physical(unit)
    place = NAMES.index("q10")
    rest = with_fixed(jnp.delete(unit, place, axis=1), (("q10", 2.0),), "binn")
    np.testing.assert_array_equal(np.delete(rest, place, axis=1), np.delete(whole, place, axis=1))
    np.testing.assert_array_equal(rest[:, place], 2.0)


@EVERY
def test_a_mapping_and_pairs_in_any_order_make_the_same_model(make):
    mapping = make(fixed={"tau4s3": 100.0, "q10": 2})
    pairs = make(fixed=(("q10", 2.0), ("tau4s3", 100.0)))
    assert mapping == pairs
    assert hash(mapping) == hash(pairs)
    assert mapping.fixed == (("q10", 2.0), ("tau4s3", 100.0))


@pytest.mark.parametrize(
    ("fixed", "ranges_name", "words"),
    [
        ({"q11": 2.0}, "binn", "'q11'"),
        ({"q10": 3.5}, "binn", r"q10 = 3\.5.*1\.2 to 3"),
        ({"q10": "2"}, "binn", "q10 = '2'"),
        ({"q10": True}, "binn", "q10 = True"),
        ({"q10": float("nan")}, "binn", "q10 = nan"),
        ({"tau4s3": 100.0}, "proda", "200 to 1000"),
        ({"taul1": 0.0}, "proda", "other than 0"),
        (at_defaults(()), "binn", "at least one"),
        (["q10"], "binn", "with their values"),
        (3, "binn", "with their values"),
    ],
)
def test_what_cannot_be_fixed_is_refused(fixed, ranges_name, words):
    with pytest.raises(InputError, match=words):
        SiteModel(fixed=fixed, ranges=ranges_name)


def test_an_unknown_free_parameter_is_refused():
    with pytest.raises(InputError, match="q11"):
        at_defaults(("q11",))
