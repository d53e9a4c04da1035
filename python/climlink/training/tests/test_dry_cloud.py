"""The driest air that holds cloud, found in the columns that a run trains on."""

from __future__ import annotations

import numpy as np
import pytest

from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.training.data_config import ValidationConfig
from climlink.training.dry_cloud import cloud_by_humidity, driest
from climlink.training.errors import TrainingError
from climlink.training.fits import with_fits
from climlink.wrappers.manifest import ConstraintEntry

LEVELS = 12
STAMPS = tuple(f"0008-{month:02d}-11-03600" for month in range(1, 5))
NONE = ValidationConfig(source="none")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    folder = tmp_path_factory.mktemp("dry_cloud")
    write_dataset(folder / "pairs", STAMPS, n_column=24, level_count=LEVELS)
    split = Split.model_validate(
        {
            "time_step_s": 1200,
            "remainder": "train",
            "test": [{"start": "0008-04-01", "end": "0008-04-30"}],
        }
    )
    prepare(folder / "pairs", folder / "store.zarr", split=split)
    return ColumnStore.open(folder / "store.zarr")


def test_the_edge_lies_below_all_but_a_share_of_the_cloud() -> None:
    table = np.zeros((4, 300))
    table[0, 160] = 1.0  # all of it between 0.80 and 0.805
    table[1, [100, 160]] = 0.009, 0.991  # less than the share at 0.50
    table[2, [100, 160]] = 0.02, 0.98
    np.testing.assert_allclose(driest(table, 0.01), [0.8, 0.8, 0.5, 1.0])
    table[0] = 0.0
    table[0, 250] = 1.0  # above saturation
    assert driest(table, 0.01)[0] == 1.0


def test_the_table_is_the_cloud_of_the_training_times(store: ColumnStore) -> None:
    trained = store.indices("train")
    table = cloud_by_humidity(store, trained)
    names = ("state_q0002", "ptend_q0002", "state_q0003", "ptend_q0003")
    read = {n: v.astype(np.float64) for n, v in store.read(names, trained).items()}
    cloud = sum(read[f"state_q000{k}"] + 1200.0 * read[f"ptend_q000{k}"] for k in (2, 3))
    np.testing.assert_allclose(table.sum(axis=1), cloud.clip(min=0.0).sum(axis=0), rtol=1e-12)
    # humidity by the formulas of another place: state_rh of columns that do not change in the step
    rh = store.read(("state_rh",), trained)["state_rh"]
    median = [np.average(rh[:, k], weights=cloud[:, k].clip(min=0.0)) for k in range(LEVELS)]
    centre = (table * (0.005 * (np.arange(300) + 0.5))).sum(axis=1) / table.sum(axis=1)
    ordinary = np.array(median) < 1.2
    assert ordinary.any()
    np.testing.assert_allclose(centre[ordinary], np.array(median)[ordinary], atol=0.1)


def test_a_rule_without_humidity_is_given_one(store: ColumnStore) -> None:
    asked = ConstraintEntry(name="cloud_evaporation", parameters={"margin": 0.2})
    (found,) = with_fits([asked], store, NONE)
    expected = driest(cloud_by_humidity(store, store.indices("train")), 0.01)
    assert found.parameters["relative_humidity"] == expected.tolist()
    assert found.parameters["margin"] == 0.2
    assert with_fits([found], store, NONE) == [found], "what is found stays as it is"
    wrong = ConstraintEntry(name="cloud_evaporation", parameters={"drier_share": 2})
    with pytest.raises(TrainingError, match="constraint 'cloud_evaporation': drier_share"):
        with_fits([wrong], store, NONE)
