"""The one pass over a store: blocks go into all running scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.blocks import Block, Blocks
from climlink.evaluation.offline.confidence import ConfidenceScores, ScaledOutputs
from climlink.evaluation.offline.conservation import BUDGETS, REQUIRED, column_budgets
from climlink.evaluation.offline.constraints import ConstraintActivity, RangeUseMean
from climlink.evaluation.offline.deciles import PrecipitationGroups
from climlink.evaluation.offline.energy import energy_factors
from climlink.evaluation.offline.global_water import GlobalWaterMoments, covers_globe
from climlink.evaluation.offline.residuals import CLOSURES, ColumnResiduals, obstacle
from climlink.evaluation.report import Exclusion
from climlink.packages.prediction import Predictor
from climlink.wrappers.column_budgets import TOA_NET
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
"""Called with times done, times in all, and a note."""

PUBLISHED_DELTA = 1.0
_PRUNED = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn", "ptend_u", "ptend_v")


@dataclass
class Collected:
    """Running scores of one package; what does not apply to it is None and has its reason in
    ``excluded``.
    """

    plain: PairMoments
    energy: PairMoments
    mass: PairMoments
    residuals: ColumnResiduals | None
    budgets: PairMoments | None
    global_water: GlobalWaterMoments | None
    groups: PrecipitationGroups | None
    confidence: ConfidenceScores | None
    activity: ConstraintActivity | None
    range_use: RangeUseMean | None
    excluded: list[Exclusion]

    def add(self, block: Block, outputs: VariableSet, area: Array) -> None:
        """Add a block; ``area`` [column]."""
        counted = block.counted[..., None]
        self.plain.add(block.truth, block.prediction, counted)
        factors = energy_factors(block, outputs, area / area.mean())
        self.energy.add(block.truth * factors, block.prediction * factors, counted)
        cells = _cell_weights(block, outputs, area)
        width = outputs.width
        truth, prediction, cells = (
            a.reshape(-1, 1, width) for a in (block.truth, block.prediction, cells)
        )
        self.mass.add(truth, prediction, cells)
        if self.residuals is not None:
            self.residuals.add(block, outputs)
        if self.budgets is not None:
            truth, prediction = (
                column_budgets(a, block.thickness, outputs) for a in (block.truth, block.prediction)
            )
            self.budgets.add(truth, prediction, counted)
            if self.global_water is not None:
                self.global_water.add(block, truth, prediction, outputs)
        self._add_rows(block, outputs, area)

    def _add_rows(self, block: Block, outputs: VariableSet, area: Array) -> None:
        truth, prediction = block.rows(block.truth), block.rows(block.prediction)
        weights = (block.counted * area).reshape(-1)
        if self.groups is not None:
            profiles = profile_features(outputs)
            rain = prediction[:, outputs.offset("cam_out_PRECC")]
            self.groups.add(rain, truth[:, profiles], prediction[:, profiles], weights)
        if self.confidence is not None and block.confidence is not None:
            self.confidence.add(truth, prediction, block.rows(block.confidence), block.row_weights)
        rows_area = np.broadcast_to(area, block.counted.shape).reshape(-1)
        if block.range_use is not None:
            self.range_use = self.range_use or RangeUseMean()
            self.range_use.add(block.range_use, weights)
        if self.activity is not None and block.changes is not None:
            self.activity.add(
                block.changes, block.rows(block.thickness), block.row_weights, rows_area
            )


def collect(blocks: Blocks, predictor: Predictor, progress: Progress | None = None) -> Collected:
    """Run through all blocks and return the running scores."""
    collected = _prepare(blocks, predictor)
    total = len(blocks.indices)
    for block in blocks:
        collected.add(block, blocks.outputs, blocks.area)
        if progress is not None:
            progress(
                min(blocks.times_done + len(block.truth), total),
                total,
                predictor.package.manifest.name,
            )
    return collected


def profile_features(outputs: VariableSet) -> NDArray[np.int64]:
    """Return the positions of all profile outputs in a row, in their order."""
    return np.concatenate(
        [
            np.arange(outputs.slice(v.name).start, outputs.slice(v.name).stop)
            for v in outputs.profiles
        ]
    )


def _prepare(blocks: Blocks, predictor: Predictor) -> Collected:
    outputs, columns = blocks.outputs, blocks.store.n_column
    excluded: list[Exclusion] = []
    has_budgets = all(n in outputs for n in REQUIRED)
    if not has_budgets:
        excluded.append(
            Exclusion(
                "column water and energy",
                f"the outputs {outputs.name} lack some of {', '.join(REQUIRED)}",
            )
        )
    has_rain = "cam_out_PRECC" in outputs
    if not has_rain:
        excluded.append(
            Exclusion(
                "tendencies by precipitation", f"the outputs {outputs.name} have no precipitation"
            )
        )
    if not predictor.splits_constraints:
        excluded.append(
            Exclusion(
                "constraint activity",
                "the graph is imported and does not tell its constraints apart",
            )
        )
    return Collected(
        plain=PairMoments.empty(columns, outputs.width),
        energy=PairMoments.empty(columns, outputs.width),
        mass=PairMoments.empty(1, outputs.width),
        residuals=_residuals(blocks, predictor.package.manifest, excluded),
        budgets=PairMoments.empty(columns, len(BUDGETS)) if has_budgets else None,
        global_water=_global_water(blocks, excluded) if has_budgets else None,
        groups=PrecipitationGroups(len(profile_features(outputs))) if has_rain else None,
        confidence=_confidence(predictor, outputs, excluded),
        activity=ConstraintActivity() if blocks.tells_changes else None,
        range_use=None,
        excluded=excluded,
    )


def _residuals(
    blocks: Blocks, manifest: Manifest, excluded: list[Exclusion]
) -> ColumnResiduals | None:
    why = obstacle(blocks.outputs, set(blocks.state_names))
    if why is not None:
        excluded.append(Exclusion("residuals of column water and energy", why))
        return None
    declared = [c.name for c in manifest.constraints or [] if c.name in CLOSURES]
    closures = declared if blocks.tells_changes else []
    return ColumnResiduals(blocks.store.n_column, blocks.store.time_step_s, closures)


def _global_water(blocks: Blocks, excluded: list[Exclusion]) -> GlobalWaterMoments | None:
    what = "water of the globe"
    if not blocks.store.has_place:
        return None
    if not covers_globe(blocks.area):
        why = f"the columns of the store have {blocks.area.sum():.4g} of the sphere's 12.57 sr"
        excluded.append(Exclusion(what, why))
        return None
    return GlobalWaterMoments(blocks.area)


def _cell_weights(block: Block, outputs: VariableSet, area: Array) -> Array:
    """Return dp times area of profile cells and area of scalars, [time, column, width]; 0 in rows
    that do not count.
    """
    weights = np.ones_like(block.truth)
    for v in outputs.profiles:
        weights[..., outputs.slice(v.name)] = block.thickness
    return np.asarray(weights * (area * block.counted)[..., None])


def _confidence(
    predictor: Predictor, outputs: VariableSet, excluded: list[Exclusion]
) -> ConfidenceScores | None:
    manifest = predictor.package.manifest
    if not manifest.has_confidence or manifest.network_outputs is None:
        excluded.append(Exclusion("confidence", "the package gives none"))
        return None
    kind = _recorded_loss(manifest).get("kind", "huber")
    if kind != "huber":
        read = "the scores read a confidence as Huber's loss"
        excluded.append(Exclusion("confidence", f"{read}, this one was trained with {kind}"))
        return None
    variables = VariableSet.from_layout(manifest.network_outputs, manifest.dims).of_role("value")
    scale = predictor.output_scale()
    if scale is None:
        known = manifest.difference_scale
        scale = np.concatenate(
            [np.resize(known.get(n, [0.0]), variables.width_of(n)) for n in variables.names]
        )
        left_out = [n for n in variables.names if n not in known]
        if left_out:
            excluded.append(
                Exclusion(
                    f"confidence of {', '.join(left_out)}",
                    "the imported graph does not say what its error is scaled by",
                )
            )
    # Values stand first in a network's row, auxiliary ones after them.
    scale = scale[: variables.width].copy()
    if TOA_NET in variables:
        scale[variables.slice(TOA_NET)] = 0.0
        excluded.append(Exclusion(f"confidence of {TOA_NET}", "no host receives it"))
    for name in variables.names:
        if name in _PRUNED:
            scale[
                variables.offset(name) : variables.offset(name) + (manifest.pruned_levels or 0)
            ] = 0.0
    return ConfidenceScores(
        ScaledOutputs(variables, outputs, scale),
        huber_deltas(manifest, variables),
        spread=manifest.provenance.training.get("confidence") == "spread",
    )


def huber_deltas(manifest: Manifest, variables: VariableSet) -> dict[str, float]:
    """Return where the square part of the training loss of every output ends, as the manifest
    records; 1, the published, else.
    """
    recorded = _recorded_loss(manifest)
    general = recorded.get("delta", PUBLISHED_DELTA)
    single = recorded.get("delta_of", {})
    return {name: float(single.get(name, general)) for name in variables.names}


def _recorded_loss(manifest: Manifest) -> dict[str, Any]:
    """Return the loss that a package was trained with at last, as its manifest records."""
    training = manifest.provenance.training
    stages = training.get("stages")
    last = stages[-1] if isinstance(stages, list) and stages else training
    loss = last.get("loss") if isinstance(last, dict) else None
    return loss if isinstance(loss, dict) else {}
