"""Augmentation: what is done to a batch of training columns before its loss, at random.

Everything follows from the generator, so a run that goes on has the batches it would have had.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from climlink.training.augment_config import AugmentConfig, TargetClip
from climlink.training.data import Batch, HostOutputs
from climlink.training.errors import TrainingError
from climlink.training.mirror import Mirror
from climlink.wrappers.auxiliary import PLACE_TARGETS
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.wrapped_emulator import WrappedEmulator


def step_generator(seed: int, epoch: int, batch: int, rank: int = 0) -> torch.Generator:
    """Return the random numbers of one batch of one process, all counted from 0."""
    mixed = np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


class Augmentation(nn.Module):
    """Changes batches as configured: ``augmentation(batch, generator)`` returns a new batch.

    Random numbers are drawn on the generator's device, so a seed means the same on every device.
    """

    noise: Tensor
    aloft: Tensor

    def __init__(self, config: AugmentConfig, emulator: WrappedEmulator, host: HostOutputs) -> None:
        """``emulator`` must be fitted: noise and mirrors need its normalization. TrainingError for
        more levels than there are, and for mirrors that the run's inputs or targets cannot have.
        """
        super().__init__()
        self._config = config
        levels = emulator.contract.level_count
        if config.drop_aloft is not None and config.drop_aloft.levels > levels:
            raise TrainingError(
                f"augment: drop_aloft.levels is {config.drop_aloft.levels}, and there are {levels}"
            )
        self.register_buffer("noise", _noise(config, emulator), persistent=False)
        self.register_buffer("aloft", _aloft(config, emulator), persistent=False)
        self.has_noise = bool((self.noise > 0.0).any())
        self.mirrors = nn.ModuleList(_mirrors(emulator, host) if config.mirror_winds else ())

    def forward(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the augmented batch; the one that is given is left as it is."""
        config = self._config
        if config.mirror_winds:
            batch = self._mirrored(batch, generator)
        inputs = batch.inputs
        if self.has_noise:
            drawn = torch.randn(inputs.shape, generator=generator, device=generator.device)
            inputs = inputs + drawn.to(inputs) * self.noise
        if config.drop_aloft is not None:
            drawn = torch.rand((len(inputs), 1), generator=generator, device=generator.device)
            dropped = (drawn < config.drop_aloft.probability).to(inputs.device)
            inputs = torch.where(dropped & self.aloft, torch.zeros_like(inputs), inputs)
        batch = batch._replace(inputs=inputs)
        if config.target_clip is not None:
            clip = config.target_clip
            batch = batch._replace(
                targets=clipped(batch.targets, clip), host_targets=clipped(batch.host_targets, clip)
            )
        return batch

    def _mirrored(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with the winds of random columns reversed."""
        drawn = torch.randint(
            0, 2, (len(batch.inputs), 2), generator=generator, device=generator.device
        )
        signs = drawn.to(batch.inputs) * 2.0 - 1.0
        parts = (batch.inputs, batch.targets, batch.host_rows, batch.host_targets)
        mirrored = [mirror(part, signs) for mirror, part in zip(self.mirrors, parts, strict=True)]
        inputs, targets, host_rows, host_targets = mirrored
        return batch._replace(
            inputs=inputs, targets=targets, host_rows=host_rows, host_targets=host_targets
        )


def clipped(targets: Tensor, clip: TargetClip) -> Tensor:
    """Return targets within a limit, of the same shape; those below it are unchanged."""
    limit = clip.limit
    if clip.kind == "hard":
        return targets.clamp(-limit, limit)
    size = targets.abs()
    # tanh has slope 1 at 0: the curve has no kink at the limit.
    beyond = targets.sign() * limit * (1.0 + torch.tanh(size / limit - 1.0))
    return torch.where(size > limit, beyond, targets)


def _noise(config: AugmentConfig, emulator: WrappedEmulator) -> Tensor:
    """Return the std of the noise of every network input [n_network]: 0 where the network never
    sees anything but one value, and for carried state.
    """
    inputs, normalization = emulator.contract.network_inputs, emulator.normalization
    noise = torch.zeros(inputs.width)
    for v in inputs.of_role("value").variables:
        noise[inputs.slice(v.name)] = config.input_noise_of.get(v.name, config.input_noise)
    varies = normalization.kept & (normalization.gain != 0.0)
    return torch.where(varies.cpu(), noise, torch.zeros_like(noise))


def _aloft(config: AugmentConfig, emulator: WrappedEmulator) -> Tensor:
    """Return which network inputs are dropped aloft, [n_network]."""
    inputs = emulator.contract.network_inputs
    aloft = torch.zeros(inputs.width, dtype=torch.bool)
    if config.drop_aloft is not None:
        for v in inputs.of_role("value").variables:
            if v.dims == (LEVEL,):
                start = inputs.offset(v.name)
                aloft[start : start + config.drop_aloft.levels] = True
    return aloft


def _mirrors(emulator: WrappedEmulator, host: HostOutputs) -> list[Mirror]:
    """Return the reversal of winds in every part of a batch, in the units it has there."""
    contract, normalization = emulator.contract, emulator.normalization
    placed = [n for n in contract.network_outputs.names if n in PLACE_TARGETS]
    if placed:
        raise TrainingError(
            f"augment: mirror_winds cannot go with the auxiliary target {placed[0]}: a column with "
            "reversed winds belongs to no place; leave one of them out"
        )
    zero_in = -normalization.subtract * normalization.gain
    zero_out = -normalization.output_mean / normalization.output_scale
    plain = [
        Mirror(v, torch.zeros(v.width)) if host.names else Mirror.nothing()
        for v in (contract.inputs, host.variables)
    ]
    return [
        Mirror(contract.network_inputs, zero_in),
        Mirror(contract.network_outputs, zero_out),
        *plain,
    ]
