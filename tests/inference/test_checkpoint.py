"""Checkpoints: what is saved comes back, one process writes, nothing else passes for one, a full disk loses nothing."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import binn_prob.clm5  # noqa: F401  float64
from binn_prob.errors import InputError
from binn_prob.inference.checkpoint import Checkpoint, opened

IDENTITY = {"seed": 0, "method": {"name": "vi", "steps": 100}}

TREE = {
    "key": jax.random.key(3),
    "keys": jax.random.split(jax.random.key(4), 5),
    "array": jnp.arange(6.0).reshape(2, 3),
    "nested": (np.array([True, False]), None, {"count": 7, "rate": 0.25}),
    "empty": (),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


def same(first, second):
    """Whether two pytrees are equal to the last bit, random keys included."""
    plain = [
        jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, one) for one in (first, second)
    ]
    return jax.tree.structure(first) == jax.tree.structure(second) and all(
        np.array_equal(one, other) and np.asarray(one).dtype == np.asarray(other).dtype
        for one, other in zip(*map(jax.tree.leaves, plain), strict=True)
    )


def _is_key(leaf):
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def test_what_was_saved_comes_back(folder):
    with opened(folder, IDENTITY, resume=False) as checkpoint:
        assert checkpoint.load("state", TREE) is None
        checkpoint.save("state", TREE)
        assert same(checkpoint.load("state", TREE), TREE)
    with opened(folder, IDENTITY, resume=True) as checkpoint:
        assert same(checkpoint.load("state", TREE), TREE)


def test_the_template_may_hold_shapes_alone(folder):
    tree = {"key": jax.random.key(3), "array": jnp.ones((2, 3))}
    checkpoint = Checkpoint(folder)
    checkpoint.save("state", tree)
    assert same(checkpoint.load("state", jax.eval_shape(lambda: tree)), tree)


def test_random_keys_give_the_same_numbers_afterwards(folder):
    checkpoint = Checkpoint(folder)
    checkpoint.save("state", TREE)
    key = checkpoint.load("state", TREE)["key"]
    np.testing.assert_array_equal(jax.random.normal(key, (3,)), jax.random.normal(TREE["key"], (3,)))


def test_parts_have_names_of_their_own(folder):
    checkpoint = Checkpoint(folder)
    checkpoint.save("state", 1)
    checkpoint.part("start").part("inner").save("state", 2)
    assert checkpoint.load("state", 0) == 1
    assert checkpoint.part("start").load("state", 0) is None
    assert checkpoint.part("start").part("inner").load("state", 0) == 2


def test_the_time_spent_adds_up(folder):
    with opened(folder, IDENTITY, resume=False) as checkpoint:
        assert checkpoint.spent_before == 0.0
        checkpoint.part("start").save("state", 1)
    with opened(folder, IDENTITY, resume=True) as checkpoint:
        first = checkpoint.spent_before
        assert first > 0.0
        checkpoint.save("state", 1)
    with opened(folder, IDENTITY, resume=True) as checkpoint:
        assert checkpoint.spent_before > first


def test_a_second_writer_is_refused_at_once(folder):
    program = (
        "import sys; from binn_prob.files import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process is writing"), opened(folder, IDENTITY, resume=True):
            pass
        other.kill()  # the lock goes with the process
    with opened(folder, IDENTITY, resume=True) as checkpoint:
        checkpoint.save("state", 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"method": {"name": "vi", "steps": 200}}, "method.steps was 100 and is now 200"),
        ({"method": {"name": "vi", "steps": 100, "draws": 3}}, "method.draws was None and is now 3"),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused_by_what_differs(folder, changed, words):
    with opened(folder, IDENTITY, resume=False):
        pass
    with pytest.raises(InputError, match=words), opened(folder, IDENTITY | changed, resume=True):
        pass


def test_nothing_is_overwritten_unasked(folder):
    with opened(folder, IDENTITY, resume=False):
        pass
    with pytest.raises(InputError, match="holds a checkpoint already"), opened(folder, IDENTITY, resume=False):
        pass


def test_a_folder_of_something_else_is_refused(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("kept")
    with pytest.raises(InputError, match=r"thesis\.tex and no checkpoint"), opened(folder, IDENTITY, resume=True):
        pass


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)


def _emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _changed, _emptied])
def test_a_damaged_file_is_named(folder, damage):
    checkpoint = Checkpoint(folder)
    checkpoint.save("state", {"array": np.arange(1000.0)})
    damage(folder / "state.npz")
    with pytest.raises(
        InputError, match=r"unusable file .*state\.npz.*remove the file; what it held is computed again"
    ):
        checkpoint.load("state", {"array": np.zeros(1000)})


def test_arrays_of_another_form_are_refused(folder):
    checkpoint = Checkpoint(folder)
    checkpoint.save("state", {"array": np.arange(4.0)})
    for template in ({"array": np.zeros(5)}, {"array": np.zeros(4, np.float32)}, {"other": np.zeros(4)}, {}):
        with pytest.raises(InputError, match="other arrays"):
            checkpoint.load("state", template)


def test_what_a_killed_process_left_half_written_is_removed(folder):
    with opened(folder, IDENTITY, resume=False) as checkpoint:
        checkpoint.part("start").save("state", 1)
    half = folder / "start" / ".state.npz.1.part"
    half.write_bytes(b"half")
    with opened(folder, IDENTITY, resume=True):
        assert not half.exists()


@pytest.fixture
def _full_disk():
    """Files of this process end at 40 kB, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_full_disk")
def test_a_full_disk_loses_nothing(folder):
    checkpoint = Checkpoint(folder)
    checkpoint.save("state", np.arange(1000.0))
    with pytest.raises(InputError, match=r"no room to write .*state\.npz; expected free space") as caught:
        checkpoint.save("state", np.arange(10000.0))
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(checkpoint.load("state", np.zeros(1000)), np.arange(1000.0))
    assert sorted(file.name for file in folder.iterdir()) == ["seconds.json", "state.npz"]


@pytest.mark.usefixtures("_full_disk")
def test_a_posterior_that_has_no_room_says_so(tmp_path):
    import xarray as xr

    from binn_prob.results import storage

    tree = xr.DataTree(xr.Dataset({"values": ("draw", np.random.default_rng(0).normal(size=20_000))}))
    with pytest.raises(InputError, match="no room to write"):
        storage.save(tree, tmp_path / "posterior_vi.nc")
    assert list(tmp_path.iterdir()) == []


def test_the_identity_can_be_read(folder):
    with opened(folder, IDENTITY, resume=False):
        assert json.loads((folder / "identity.json").read_text()) == IDENTITY
