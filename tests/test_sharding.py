"""Sites shared out among devices: the same numbers as on one, in a process with two devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import binn_prob as bp
from binn_prob.results import storage
from binn_prob.sharding import devices_in_use, site_mesh

pytestmark = pytest.mark.slow

METHODS = {
    "mc_dropout": ("binn", {"steps": 100, "draws": 20, "batch_sites": 4}),
    "deep_ensemble": ("binn", {"steps": 100, "members": 2, "batch_sites": 4}),
    "laplace": ("binn", {"steps": 100, "draws": 20}),
    "sghmc": ("binn", {"chains": 2, "warmup": 10, "draws": 10, "thinning": 2, "start_steps": 100, "batch_sites": 4}),
    "vi of all sites": ("neural_prior", {"steps": 100, "draws": 20}),
    "nuts": ("binn", {"chains": 2, "warmup": 10, "draws": 10, "max_tree_depth": 2, "start_steps": 100}),
}
"""Method → the model that it fits, and its options.  The number of sites is odd, so that devices have not as many."""

ROUND = {"chains": 2, "warmup": 20, "draws": 10, "rounds": 1, "sites_at_once": 2}
"""Options of a short fit of every site by itself"""

PROGRAM = f"""
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
import pytest
import binn_prob as bp
from binn_prob import clm5
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.sharding import devices_in_use, site_mesh
from quick_soil import replace_the_soil

sites = bp.data.load("synthetic", sites=9, seed=0)
soil, found, fits = clm5.prepare(clm5.Forcing.from_dataset(sites)), {{}}, []
parameters = clm5.physical(np.random.default_rng(0).uniform(size=(9, 21)))

def loss(parameters):
    return jax.numpy.log1p(clm5.solve(parameters, soil)).sum()

def both(name, compute):
    found[f"{{name}}: one"] = np.asarray(compute())
    with jax.set_mesh(site_mesh()):
        assert devices_in_use() == 2
        found[f"{{name}}: two"] = np.asarray(compute())

both("solver", lambda: clm5.solve(parameters, soil))
both("gradient", lambda: jax.grad(loss)(parameters))
with jax.set_mesh(site_mesh()):
    shared = jax.jit(clm5.solve).lower(parameters, soil).compile().as_text()
found["partitions"] = np.array("num_partitions=2" in shared)
replace_the_soil(pytest.MonkeyPatch())
jax.clear_caches()
for name, (model, options) in {METHODS!r}.items():
    def draws():
        fit = bp.fit(model, sites, name.split()[0], seed=0, progress=False, **options)
        fits.append(fit)
        return np.concatenate([np.ravel(draws) for _, draws in sorted(fit.draws.items())])
    both(name, draws)

both("prediction", lambda: fits[0].predict(sites.isel(site=slice(5)))["posterior/soc_layer"])

class Killed(BaseException):
    pass

def killed_after(last):
    def mortal(self, name, tree):
        save(self, name, tree)
        if name == last:
            raise Killed
    return mortal

def moved(first, then):
    options = {{"seed": 0, "progress": False, "steps": 200, "draws": 20}}
    options["checkpoint"] = f"{{sys.argv[1]}}.{{first}}.{{then}}"
    with jax.set_mesh(site_mesh(first)), pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Checkpoint, "save", killed_after("training"))
        bp.fit("binn", sites, "vi", **options)
    with jax.set_mesh(site_mesh(then)):
        return bp.fit("binn", sites, "vi", resume=True, **options).draws["weights"]

save = Checkpoint.save
pytest.MonkeyPatch().setattr("binn_prob.inference.training._SAVED_EVERY", 1)
stayed = moved(1, 1)
for name, way in {{"moved to more devices": (1, 2), "moved to fewer": (2, 1)}}.items():
    found[f"{{name}}: one"], found[f"{{name}}: two"] = stayed, moved(*way)

def chains():
    return bp.fit("binn", sites, "nuts", seed=0, progress=False, **{METHODS["nuts"][1]!r}).draws["weights"]

found["fewer devices than there are: one"] = chains()
with jax.set_mesh(site_mesh(1)):
    found["fewer devices than there are: two"] = chains()

def independent(**options):
    return bp.fit("site", sites, "site_nuts", seed=0, progress=False, **{ROUND!r}, **options)

found["independent sites, moved: two"] = independent().draws["offsets"]
options = {{"checkpoint": f"{{sys.argv[1]}}.sites"}}
with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
    patched.setattr(Checkpoint, "save", killed_after("draws_0"))
    independent(**options)
with jax.set_mesh(site_mesh(1)):
    fit = independent(resume=True, **options)
    assert [fit.posterior().attrs[name] for name in ("shares", "devices")] == [2, 1]
    found["independent sites, moved: one"] = fit.draws["offsets"]
with jax.set_mesh(site_mesh()):
    try:
        bp.fit("binn", sites, "nuts", seed=0, progress=False, chains=2, chain_method="parallel")
    except bp.InputError as error:
        found["refusal"] = np.array(str(error))
np.savez(sys.argv[1], **found)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What a process with two devices has computed on one of them, and on both."""
    target = tmp_path_factory.mktemp("sharding") / "found.npz"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", PROGRAM, str(target)], env=environment, check=True)
    with np.load(target) as file:
        return dict(file)


def test_the_solver_is_the_same_on_two_devices(found: dict[str, np.ndarray]) -> None:
    """Bit by bit: sites do not know of each other."""
    assert found["partitions"]
    assert (found["solver: one"] > 0).any()
    np.testing.assert_array_equal(found["solver: one"], found["solver: two"])
    np.testing.assert_allclose(found["gradient: one"], found["gradient: two"], rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        *METHODS,
        "prediction",
        "moved to more devices",
        "moved to fewer",
        "fewer devices than there are",
        "independent sites, moved",
    ],
)
def test_draws_are_the_same_on_two_devices(name: str, found: dict[str, np.ndarray]) -> None:
    """Within rounding, which a chain of gradients carries on; also where a fit begun on one goes on on both."""
    one, two = found[f"{name}: one"], found[f"{name}: two"]
    assert one.std() > 0
    np.testing.assert_allclose(two, one, rtol=1e-7, atol=1e-9)


def test_parallel_chains_do_not_share_their_devices(found: dict[str, np.ndarray]) -> None:
    assert "parallel chains, and sites shared among 2 device(s)" in str(found["refusal"])


def test_no_more_devices_than_there_are() -> None:
    assert devices_in_use() == 1
    with pytest.raises(bp.InputError, match=r"got 99 devices to share the sites; expected 1 to \d+"):
        site_mesh(99)


def test_the_command_line_shares_sites_out(tmp_path: Path) -> None:
    """One core is seen as so many devices as are asked for; the result says among how many sites were shared out."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [
        sys.executable, "-m", "binn_prob.cli", "fit", "--sites", "5", "--method", "vi", "--devices", "2",
        "--config", str(tmp_path / "short.yaml"), "--out", str(tmp_path / "run"), "--allow-unconverged", "--quiet",
    ]  # fmt: skip
    (tmp_path / "short.yaml").write_text("methods: {vi: {steps: 100, draws: 10}}", encoding="utf-8")
    subprocess.run(command, env=environment, check=True)
    tree = storage.load(tmp_path / "run" / "posterior_vi.nc")
    assert tree.attrs["devices"] == 2
