"""The networks of the fixture packages, in plain torch."""

from __future__ import annotations

import torch
from torch import nn


class Tiny(nn.Module):
    """Linear [n, 9] -> [n, 5]; raises for inputs above 1e6 and divides by the scalar, so that both
    kinds of failure can be had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 0 and bool((x.abs() > 1e6).any()):
            raise RuntimeError("the tiny network refuses inputs above 1e6")
        return self.linear(x) / x[:, 8:9]


class Fixed(nn.Module):
    """Five outputs whatever the nine inputs are, exact in float32; ``undefined``: the fourth is
    NaN.
    """

    def __init__(self, undefined: bool = False) -> None:
        super().__init__()
        self.register_buffer("outputs", torch.tensor([1.0, 2.0, -3.0, 4.0, 5.0]))
        if undefined:
            self.outputs[3] = float("nan")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outputs.expand(x.shape[0], 5)


class Raising(Tiny):
    """Tiny behind an exported method that raises for inputs above 1e5."""

    @torch.jit.export
    def checked(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x.abs() > 1e5).any()):
            raise RuntimeError("the method refuses inputs above 1e5")
        return self.linear(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.checked(x) / x[:, 8:9]


class Masked(nn.Module):
    """Linear [n, 9] -> [n, 5] beside square roots of negatives, overflows and divisions by zero
    that a mask takes out again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        wild = (
            torch.sqrt(-1 - x[:, :5].abs())
            + torch.exp(1e3 + x[:, :5].abs())
            + 1 / torch.zeros_like(y)
        )
        return torch.where(torch.isfinite(wild), wild, y)


class Mlp(nn.Module):
    """Linear layers [n, 557] -> [n, 368]; the last output has a layer of its own, because one
    output takes other kernels than many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(557, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU())
        self.many = nn.Linear(256, 367)
        self.one = nn.Linear(256, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(x)
        return torch.cat([self.many(hidden), self.one(hidden)], dim=1)


class Columns(nn.Module):
    """Common part of the column networks: [n, 557] -> profiles [n, 26, 60] -> [n, 368]."""

    def channels(self, x: torch.Tensor) -> torch.Tensor:
        profiles = x[:, :540].reshape(-1, 9, 60)
        scalars = x[:, 540:557].unsqueeze(2).expand(-1, 17, 60)
        return torch.cat([profiles, scalars], dim=1)

    def rows(self, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([y[:, :6].flatten(1), y[:, 6:14].mean(dim=2)], dim=1)


class Convolution(Columns):
    """Strided, dilated and transposed one-dimensional convolutions with group normalization, the
    parts of a U-Net.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(26, 48, 3, padding=1)
        self.down = nn.Conv1d(48, 64, 4, stride=2, padding=1)
        self.middle = nn.Sequential(
            nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv1d(64, 64, 3, padding=2, dilation=2)
        )
        self.up = nn.ConvTranspose1d(64, 48, 4, stride=2, padding=1)
        self.leave = nn.Conv1d(96, 14, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top = nn.functional.silu(self.enter(self.channels(x)))
        low = self.down(top)
        return self.rows(self.leave(torch.cat([top, self.up(low + self.middle(low))], dim=1)))


class Recurrent(Columns):
    """Bidirectional LSTM along the levels."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(26, 48, batch_first=True, bidirectional=True)
        self.leave = nn.Linear(96, 14)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.channels(x).transpose(1, 2))
        return self.rows(self.leave(y).transpose(1, 2))


class Pair(nn.Module):
    """Returns two tensors, which no manifest allows."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :5], x[:, :5]


class Double(nn.Module):
    """Returns float64, which no manifest allows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :5].double()


class Doubled(nn.Module):
    """A constraint with a switch: twice the outputs."""

    def __init__(self, makes: str = "") -> None:
        super().__init__()
        self.enabled: bool = True
        self.makes: str = makes

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return 2 * y


class Raised(Doubled):
    """A constraint with a switch: 1 more than the outputs."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y + 1


class Rules(nn.Module):
    """Constraints by name, in their order: where the runtime looks for switches."""

    def __init__(self, rules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.names = list(rules)
        self.rules = nn.ModuleList(rules.values())

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        for rule in self.rules:
            if rule.enabled:
                y = rule(y)
        return y


class Constrained(nn.Module):
    """A network and its constraints, laid out as a WrappedEmulator is."""

    def __init__(self, network: nn.Module, rules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.constraints = Rules(rules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.constraints(self.network(x))


class Ranged(Constrained):
    """The first constraint clips, the second relaxes: thirds of the first three inputs tell how
    much, as far as they are on.
    """

    @torch.jit.export
    def range_use(self, x: torch.Tensor) -> torch.Tensor:
        """Return [n, 3], float64."""
        clips, relaxes = self.constraints.rules[0].enabled, self.constraints.rules[1].enabled
        on = [float(clips), float(relaxes), float(relaxes)]
        return x[:, :3].double() / 3.0 * torch.tensor(on, dtype=torch.float64, device=x.device)


class RangedInFloat32(Constrained):
    """Tells its use in another type."""

    @torch.jit.export
    def range_use(self, x: torch.Tensor) -> torch.Tensor:
        """Return [n, 3], float32."""
        return x[:, :3]


class Fields(nn.Module):
    """One field at a time, [1, 37] -> [1, 72], exact for inputs that are small multiples of 1/8.

    rain [lat_fine 6, lon_fine 8] = sst [lat 3, lon 4], every value on four points, times 1 + place
    / 64, plus season; moisture [depth 2, lat, lon] = soil [lat, lon, depth], axes exchanged, times
    1 + place / 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fine", 1 + torch.arange(48.0).reshape(6, 8) / 64)
        self.register_buffer("deep", 1 + torch.arange(24.0).reshape(2, 3, 4) / 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] != 1:
            raise RuntimeError("one field at a time")
        sst = x[:, :12].reshape(1, 3, 1, 4, 1).expand(1, 3, 2, 4, 2).reshape(1, 6, 8)
        soil = x[:, 12:36].reshape(1, 3, 4, 2).permute(0, 3, 1, 2)
        return torch.cat(
            [(sst * self.fine + x[0, 36]).flatten(1), (soil * self.deep).flatten(1)], dim=1
        )


class Rows(nn.Module):
    """[n, 2] -> [n, 1]: how many rows this forward has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x[:, :1]) + x.shape[0]


class Memory(nn.Module):
    """Columns of four levels with a memory: memory' = gain * memory + forcing + offset, total' =
    total + 1.

    Inputs: forcing [level], slope (``static`` only), memory [level], start, total. Outputs:
    tendency [level] = 2 * memory', trust = start, memory', total'. A sample begins with the static
    slope as its memory, or else with what the carried inputs hold.
    """

    def __init__(self, static: bool, gain: float = 0.5, offset: float = 0.0) -> None:
        super().__init__()
        self.static, self.gain, self.offset = static, gain, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = 5 if self.static else 4
        memory, start, total = (
            x[:, first : first + 4],
            x[:, first + 4 : first + 5],
            x[:, first + 5 :],
        )
        if self.static:
            memory = start * x[:, 4:5] + (1 - start) * memory
        following = self.gain * memory + x[:, :4] + self.offset
        return torch.cat([2 * following, start, following, total + 1], dim=1)
