"""Blocks that convolve along levels."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.composed.block import BlockConfiguration, Chain, Plain, Signal
from climlink.architectures.composed.named import (
    ActivationName,
    ChannelsLast,
    NormName,
    activation,
    norm,
)
from climlink.architectures.errors import ArchitectureError


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    dilation: int = 1,
    groups: int = 1,
    before: NormName = "none",
) -> nn.Conv1d:
    """Return a convolution that keeps the number of positions: zeros stand beyond both ends.

    ``before`` a batch norm it has no bias: that norm takes every constant away.
    """
    return nn.Conv1d(
        inputs,
        outputs,
        kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=before != "batch",
    )


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ArchitectureError(f"a kernel must be odd, to look up and down alike; got {kernel}")
    return kernel


class ConvolutionBlock(BlockConfiguration):
    """Convolution, norm, activation, dropout."""

    kind: Literal["convolution"] = "convolution"
    width: int | None = Field(default=None, ge=1, description="channels; null: as they come in")
    kernel: int = Field(default=3, ge=1, description="levels that it sees at once, odd")
    dilation: int = Field(default=1, ge=1, description="levels between those it sees")
    depthwise: bool = Field(default=False, description="each channel by itself; keeps the width")
    norm: NormName = Field(default="batch", description="after the convolution")
    activation: ActivationName = Field(default="gelu", description="after the norm")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="after the activation")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width = self.width or signal.width
        if self.depthwise and width != signal.width:
            raise ArchitectureError(
                f"depthwise keeps the width ({signal.width}), width says {width}; leave one out"
            )
        groups = width if self.depthwise else 1
        layer = convolution(
            signal.width,
            width,
            _odd(self.kernel),
            dilation=self.dilation,
            groups=groups,
            before=self.norm,
        )
        return Plain(
            layer,
            norm(self.norm, width, signal.length),
            activation(self.activation),
            nn.Dropout(self.dropout),
        ), signal.of_width(width)


class Gate(nn.Module):
    """Squeeze and excitation: each channel times a number in (0, 1) made of all channels' means
    over levels.
    """

    def __init__(self, width: int, hidden: int, name: ActivationName) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, hidden), activation(name), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return x * self.gate(x.mean(dim=2)).unsqueeze(2)


class SqueezeExcitationBlock(BlockConfiguration):
    """Gates for channels from their means over levels (Hu et al., 2018)."""

    kind: Literal["squeeze_excitation"] = "squeeze_excitation"
    reduction: int = Field(default=4, ge=1, description="the hidden layer has width / reduction")
    activation: ActivationName = Field(default="relu", description="of the hidden layer")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        hidden = max(1, signal.width // self.reduction)
        return Plain(Gate(signal.width, hidden, self.activation)), signal


class Inception(nn.Module):
    """Convolutions of several kernels and a maximum of neighbours, side by side."""

    def __init__(
        self,
        inputs: int,
        widths: list[int],
        kernels: list[int],
        bottleneck: int,
        before: NormName,
    ) -> None:
        super().__init__()
        squeezed = bottleneck > 0
        narrow = bottleneck if squeezed else inputs
        self.squeeze = nn.Conv1d(inputs, narrow, 1) if squeezed else nn.Identity()
        self.branches = nn.ModuleList(
            convolution(narrow, width, kernel, before=before)
            for width, kernel in zip(widths[:-1], kernels, strict=True)
        )
        self.neighbours = nn.Sequential(
            nn.MaxPool1d(3, stride=1, padding=1),
            convolution(inputs, widths[-1], 1, before=before),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, sum of widths, position]."""
        narrow = self.squeeze(x)
        parts = [self.neighbours(x)]
        for branch in self.branches:
            parts.append(branch(narrow))
        return torch.cat(parts, dim=1)


class InceptionBlock(BlockConfiguration):
    """Convolutions of several kernels and a maximum over three levels side by side, then norm and
    activation (InceptionTime, Ismail Fawaz et al., 2020).
    """

    kind: Literal["inception"] = "inception"
    width: int | None = Field(
        default=None, ge=1, description="channels of all branches together; null: as they come in"
    )
    kernels: list[int] = Field(default=[3, 7, 15], min_length=1, description="one branch each, odd")
    bottleneck: int = Field(
        default=0, ge=0, description="channels before the convolutions; 0: as they come in"
    )
    norm: NormName = Field(default="batch", description="after the branches")
    activation: ActivationName = Field(default="gelu", description="after the norm")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width, branches = self.width or signal.width, len(self.kernels) + 1
        if width < branches:
            raise ArchitectureError(f"{branches} branches need a width of {branches}, got {width}")
        for kernel in self.kernels:
            _odd(kernel)
        widths = [width // branches] * branches
        widths[0] += width % branches
        return Plain(
            Inception(signal.width, widths, self.kernels, self.bottleneck, self.norm),
            norm(self.norm, width, signal.length),
            activation(self.activation),
        ), signal.of_width(width)


class Skip(nn.Module):
    """A change added to what comes in."""

    def __init__(self, change: nn.Module, skip: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.change = change
        self.skip = skip
        self.last = last

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return self.last(self.skip(x) + self.change(x))


class TCNBlock(BlockConfiguration):
    """Temporal convolutional network along levels (Bai et al., 2018), looking up and down: for each
    dilation two convolutions with a skip.
    """

    kind: Literal["tcn"] = "tcn"
    width: int | None = Field(default=None, ge=1, description="channels; null: as they come in")
    kernel: int = Field(default=3, ge=1, description="odd")
    dilations: list[int] = Field(
        default=[1, 2, 4, 8], min_length=1, description="of the pairs of convolutions, in order"
    )
    norm: NormName = Field(default="batch", description="after each convolution")
    activation: ActivationName = Field(default="gelu", description="after each norm and each sum")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="after each activation but sums'")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width, inputs, pairs = self.width or signal.width, signal.width, []
        for dilation in self.dilations:
            layers: list[nn.Module] = []
            for channels in (inputs, width):
                layers += [
                    convolution(
                        channels, width, _odd(self.kernel), dilation=dilation, before=self.norm
                    ),
                    norm(self.norm, width, signal.length),
                    activation(self.activation),
                    nn.Dropout(self.dropout),
                ]
            skip = nn.Identity() if inputs == width else nn.Conv1d(inputs, width, 1)
            pairs.append(Skip(nn.Sequential(*layers), skip, activation(self.activation)))
            inputs = width
        return Chain(pairs), signal.of_width(width)


class Scale(nn.Module):
    """Each channel times a learned number, which begins small."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width, 1), start))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return x * self.scale


class ConvNextBlock(BlockConfiguration):
    """Depthwise convolution, norm, two linear layers, scale, skip (Liu et al., 2022)."""

    kind: Literal["convnext"] = "convnext"
    kernel: int = Field(default=7, ge=1, description="odd")
    expansion: int = Field(default=4, ge=1, description="hidden units per channel")
    norm: NormName = Field(default="layer", description="after the convolution")
    activation: ActivationName = Field(default="gelu", description="of the hidden units")
    layer_scale: float = Field(
        default=1e-6, gt=0, description="starting value of the factors on what is added"
    )

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width = signal.width
        change = nn.Sequential(
            convolution(width, width, _odd(self.kernel), groups=width, before=self.norm),
            norm(self.norm, width, signal.length),
            ChannelsLast(
                nn.Linear(width, self.expansion * width),
                activation(self.activation),
                nn.Linear(self.expansion * width, width),
            ),
            Scale(width, self.layer_scale),
        )
        return Skip(change, nn.Identity(), nn.Identity()), signal


class ConvolutionalLSTM(nn.Module):
    """An LSTM whose state is a profile and whose gates are convolutions; it sees the same profile
    at each step.
    """

    def __init__(self, inputs: int, width: int, kernel: int, steps: int) -> None:
        super().__init__()
        self.width: int = width
        self.steps: int = steps
        self.input_gates = convolution(inputs, 4 * width, kernel)
        self.state_gates = nn.Conv1d(width, 4 * width, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state [batch, width, position]."""
        seen = self.input_gates(x)
        state = torch.zeros([x.shape[0], self.width, x.shape[2]], dtype=x.dtype, device=x.device)
        cell = state
        for _ in range(self.steps):
            opened, forgotten, shown, new = (seen + self.state_gates(state)).chunk(4, dim=1)
            cell = torch.sigmoid(forgotten) * cell + torch.sigmoid(opened) * torch.tanh(new)
            state = torch.sigmoid(shown) * torch.tanh(cell)
        return state


class ConvLSTMBlock(BlockConfiguration):
    """Convolutional LSTM (Shi et al., 2015) along levels: a column has no time, so its steps refine
    one profile.
    """

    kind: Literal["conv_lstm"] = "conv_lstm"
    width: int | None = Field(default=None, ge=1, description="channels; null: as they come in")
    kernel: int = Field(default=3, ge=1, description="odd")
    steps: int = Field(default=3, ge=2, description="times that the gates act")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width = self.width or signal.width
        module = ConvolutionalLSTM(signal.width, width, _odd(self.kernel), self.steps)
        return Plain(module), signal.of_width(width)
