"""Package: a wrap_model.pt as a notebook or script uses it. Predicts, scores, verifies, and tells
what it is."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from climlink.data.store import ColumnStore
from climlink.packages.labelled import as_dataset, checked_array
from climlink.packages.labelled_prediction import predict_dataset, roll_out_dataset
from climlink.packages.prediction import PredictionError, Predictor
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import host_sets, value_sets

if TYPE_CHECKING:
    from climlink.packages.read import FloatRows
    from climlink.packages.verify import Verification

DEFAULT_SPLIT = "test"


def open_package(
    path: str | Path, pinned_digest: str | None = None, trust_code: bool = False
) -> Package:
    """Return the package at ``path``; its graph is loaded when it is first needed.

    ``pinned_digest`` is the SHA-256 that the file must have. ``trust_code`` loads a graph that does
    more than compute. PackageError for a file that is missing, damaged, no package, or not the
    pinned one; ManifestError for a manifest that is not valid.
    """
    return Package.read(path, pinned_digest, trust_code=trust_code)


class Package(EmulatorPackage):
    """A package that predicts from labelled data.

    Data are an xarray Dataset or a mapping of arrays by variable names, with any dimensions of
    samples; packed rows [sample, n_input]; or a ``climlink.Store``. Units, sizes and coordinates
    are checked, other variables ignored, relative humidity and the like derived.
    """

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self)

    def __getstate__(self) -> dict[str, Any]:
        # A graph cannot be pickled: another process loads it from the file.
        return {k: v for k, v in self.__dict__.items() if k != "_predictor"}

    def predict(
        self,
        data: Any,
        *,
        split: str | None = None,
        dim: str | None = None,
        state: Mapping[str, Any] | xr.Dataset | None = None,
    ) -> xr.Dataset:
        """Return all outputs for every sample, float32, confidence and carried state among them,
        with units and coordinates.

        Lazy data give a lazy result, computed chunk by chunk. ``split`` is of a store, "test" by
        default. With ``dim`` a package that carries state is rolled out along that dimension from
        its start, or from ``state``, the carried outputs of an earlier result at its last step;
        that result is in memory. PredictionError names what is missing, of another size, in other
        units, on another grid or not finite.
        """
        dataset = self._dataset(data, split)
        if dim is not None:
            return roll_out_dataset(self._predictor, dataset, dim, state)
        if state is not None:
            raise PredictionError(
                "state is where a roll-out goes on from: give dim= too, such as dim='time'"
            )
        return predict_dataset(self._predictor, dataset)

    def score(
        self,
        data: Any,
        truth: Any = None,
        *,
        split: str | None = None,
        dim: str | None = None,
        weights: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Return r2_X, rmse_X and bias_X of every output X, with its dims.

        Of a store these are the numbers of ``climlink evaluate offline``: R² over all columns and
        times alike, RMSE and bias by mass and area. Of a dataset every sample counts alike, or RMSE
        and bias by ``weights``; ``truth`` is ``data`` itself unless given. ``dim`` is that of
        ``predict``. PredictionError as there, EvaluationError where truth and prediction do not fit
        each other.
        """
        from climlink.evaluation.offline.evaluate import offline_result
        from climlink.evaluation.offline.labelled_scores import dataset_scores, result_scores

        if isinstance(data, ColumnStore) and truth is None and dim is None:
            if weights is not None:
                raise PredictionError(
                    "a store brings its own weights, mass and area; of data.to_xarray(split) give "
                    "others"
                )
            return result_scores(offline_result(self, data, split or DEFAULT_SPLIT, changes=False))
        dataset = self._dataset(data, split)
        prediction = self.predict(dataset, dim=dim)
        return dataset_scores(
            prediction,
            self._truth(dataset if truth is None else truth),
            value_sets(self.manifest)[1],
            weights,
        )

    def verify(
        self,
        rows: FloatRows | None = None,
        progress: Callable[[str], None] | None = None,
        compiled: str | Path | None = None,
        device: str = "cpu",
    ) -> Verification:
        """Send the golden samples, and rows [sample, n_input] where given, down five routes on a
        device and compare them (docs/verify.md); the Runtime's run the artefact ``compiled`` where
        given."""
        from climlink.packages.compiled import CompiledArtefact
        from climlink.packages.verify import verify

        artefact = None if compiled is None else CompiledArtefact.read(compiled)
        return verify(self, rows, progress, artefact=artefact, device=device)

    def inspect(self) -> dict[str, Any]:
        """Return what `climlink inspect --json` prints: path, SHA-256, compiled artefacts beside
        it, each with what stands against running it here (null: nothing), and the whole manifest.
        """
        from climlink.packages.compiled import beside

        return {
            "package": str(self.path),
            "sha256": self.digest,
            "compiled": [b.as_dict() for b in beside(self)],
            "manifest": self.manifest.model_dump(mode="json"),
        }

    def _dataset(self, data: Any, split: str | None) -> xr.Dataset:
        if isinstance(data, ColumnStore):
            from climlink.evaluation.offline.blocks import check_fit

            if not self.manifest.carried:
                check_fit(self.manifest, data, split or DEFAULT_SPLIT)
            return data.to_xarray(split or DEFAULT_SPLIT)
        if split is not None:
            raise PredictionError(
                f"split={split!r} is for a store; of a dataset choose times with .sel or .isel"
            )
        return as_dataset(data, self.manifest)

    def _truth(self, truth: Any) -> xr.Dataset:
        dataset = as_dataset(truth, self.manifest)
        outputs = value_sets(self.manifest)[1]
        lacking = [n for n in outputs.names if n not in dataset]
        if lacking:
            raise PredictionError(f"truth lacks {', '.join(lacking)}")
        return xr.Dataset(
            {
                v.name: checked_array(dataset[v.name], v, self.manifest.dims)
                for v in outputs.variables
            }
        )

    def _repr_html_(self) -> str:
        m = self.manifest
        inputs, outputs = host_sets(m)
        constraints = (
            "unknown, inside the graph"
            if m.constraints is None
            else ", ".join(c.name for c in m.constraints) or "none"
        )
        facts = {
            "inputs": f"{m.inputs.set}, {m.n_input} values: {', '.join(inputs.names)}",
            "outputs": f"{m.outputs.set}, {m.n_output} values: {', '.join(outputs.names)}",
            "dimensions": ", ".join(f"{name} {size}" for name, size in m.dims.items()) or "none",
            "constraints": constraints,
            "time step": "none" if m.time_step_s is None else f"{m.time_step_s:g} s",
            "carried": ", ".join(p.output for p in m.carried) or "nothing",
            "SHA-256": self.digest,
        }
        rows = "".join(
            f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items()
        )
        return f"<table><caption>climlink.Package {html.escape(m.name)}</caption>{rows}</table>"
