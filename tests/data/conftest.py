"""A small valid Dataset, a made-up copy of the published files, and a server that hands files out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5.forcing import LITTER_POOLS
from binn_prob.clm5.layers import LAYERS, MONTHS, NODE_DEPTH
from binn_prob.data import new_york
from binn_prob.data.new_york_tables import COLUMNS

PROFILES, CELLS, SLOTS = 5, 3, 200


def make_dataset(sites: int = 6) -> xr.Dataset:
    """Return a valid Dataset by a formula: two sites at a location, two observations at odd sites, else three."""
    number = np.arange(sites)
    depth = np.tile([0.05, 0.2, 0.6], (sites, 1))
    depth[1::2, 2] = np.nan
    layered = np.ones((sites, LAYERS, MONTHS))
    per_layer, per_month = ("site", "layer", "month"), ("site", "month")
    return xr.Dataset(
        {
            "soc": (("site", "observation"), 20_000 * np.exp(-depth) + 100 * number[:, None], {"units": "g C m-3"}),
            "depth": (("site", "observation"), depth, {"units": "m"}),
            "soil_temperature": (per_layer, 280 * layered, {"units": "K"}),
            "water_scalar": (per_layer, 0.5 * layered, {"units": "1"}),
            "oxygen_scalar": (per_layer, layered, {"units": "1"}),
            "nitrogen_scalar": (per_layer, 0.9 * layered, {"units": "1"}),
            "litter_input": (
                ("site", "litter_pool", "month"),
                np.ones((sites, 4, MONTHS)),
                {"units": "g C m-2 month-1"},
            ),
            "active_layer_depth": (per_month, np.full((sites, MONTHS), 42.0), {"units": "m"}),
            "active_layer_depth_last_year": (per_month, np.full((sites, MONTHS), 42.0), {"units": "m"}),
            "bedrock_layer": ("site", 10 + number % 10, {"units": "1"}),
            "continuous": (("site", "continuous_covariate"), np.stack([number / 10, -number], axis=1).astype(float)),
            "categorical": (("site", "categorical_covariate"), (number % 3)[:, None]),
        },
        coords={
            "site": 100 + number,
            "longitude": ("site", -75.0 + number // 2 * 0.4),
            "latitude": ("site", 42.0 + number // 2 * 0.3),
            "layer": NODE_DEPTH[:LAYERS],
            "month": np.arange(1, MONTHS + 1),
            "litter_pool": list(LITTER_POOLS),
            "continuous_covariate": ["warmth", "height"],
            "continuous_unit": ("continuous_covariate", ["degC", "m"]),
            "categorical_covariate": ["cover"],
        },
        attrs={"name": "made-up", "source": "a formula", "exclusions": '{"sites without soil": 2}'},
    )


@pytest.fixture
def make() -> Callable[..., xr.Dataset]:
    return make_dataset


@pytest.fixture
def dataset() -> xr.Dataset:
    return make_dataset()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Folder in the form of the published one: five profiles and three cells, nothing missing."""
    folder = tmp_path / "published"
    for name, infix, sites, labels, covariates in (
        ("Training_Data", "", PROFILES, "profile_id.txt", "env_info.txt"),
        ("Prediction_Data", "pred_", CELLS, "grid_env_info_ID.txt", "grid_env_info_NY.txt"),
    ):
        target = folder / name
        target.mkdir(parents=True)

        def write(file: str, values: np.ndarray, target: Path = target) -> None:
            if file.endswith(".npy"):
                np.save(target / file, values)
            else:
                np.savetxt(target / file, values, delimiter=",")

        monthly, layered = np.ones((sites, MONTHS)), np.ones((sites, LAYERS, MONTHS))
        write(labels, 11.0 + np.arange(sites))
        write(covariates, np.arange(sites)[:, None] % 2 + np.arange(1.0, len(COLUMNS) + 1))
        for file in ("input_vector_cwd", "input_vector_litter1", "input_vector_litter2", "input_vector_litter3"):
            write(f"model_force_{infix}{file}.txt", 5 * monthly)
        for file in ("altmax_current_profile", "altmax_lastyear_profile"):
            write(f"model_force_{infix}{file}.txt", 42 * monthly)
        write(f"model_force_{infix}nbedrock.txt", 12 * monthly)
        write(f"model_force_{infix}soil_temp_profile.npy", 280 * layered)
        for file in ("soil_water_profile", "xio", "xin"):
            write(f"model_force_{infix}{file}.npy", 0.5 * layered)
    soc, depth = (np.full((PROFILES, SLOTS), np.nan) for _ in range(2))
    soc[:, :3], depth[:, :3] = [30_000, 10_000, 5_000], [0.05, 0.3, 0.8]
    np.savetxt(folder / "Training_Data" / "obs_soc_NY.txt", soc, delimiter=",")
    np.savetxt(folder / "Training_Data" / "obs_soc_depth.txt", depth, delimiter=",")
    return folder


@pytest.fixture(scope="session")
def new_york_profiles(new_york_folder: Path) -> xr.Dataset:
    """The usable published profiles."""
    return new_york.read(new_york_folder)


@pytest.fixture(scope="session")
def all_new_york_profiles(new_york_folder: Path) -> xr.Dataset:
    """Every published profile, in published order."""
    return new_york.read(new_york_folder, exclude=False)


class _Handler(SimpleHTTPRequestHandler):
    """Hands out files without a word, and those named in ``cut`` only up to the middle."""

    cut: frozenset[str] = frozenset()
    requests: list[str]

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        if Path(self.path).name not in self.server.cut:  # type: ignore[attr-defined]
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Serve a folder on this machine: returns the address, and the list of paths that have been asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def start(folder: Path, cut: tuple[str, ...] = ()) -> tuple[str, list[str]]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        server.cut, server.requests = frozenset(cut), []  # type: ignore[attr-defined]
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/", server.requests  # type: ignore[attr-defined]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def registered(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made-up folder, with the registry of published files replaced by one of its own."""
    lines = [
        f"{file.relative_to(published).as_posix()} sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"
        for file in sorted(published.rglob("*.*"))
    ]
    registry = tmp_path / "registry.txt"
    registry.write_text("".join(lines), encoding="utf-8")
    monkeypatch.setattr(new_york, "REGISTRY", registry)
    return published
