"""Import of graphs that are not what a host needs: each is refused, or its oddity recorded, with
its true reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from climlink import progress
from climlink.cli.main import app
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.import_wrapper.foreign_graph import GraphError
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")

N_INPUT, N_OUTPUT = 557, 368


class Base(nn.Module):
    """A harmless graph; subclasses add one thing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(N_INPUT, N_OUTPUT)

    def plain(self, x: Tensor) -> Tensor:
        return self.linear(torch.clamp(x, -1.0, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x)


class OnCpu(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x) + torch.zeros(x.shape[0], 368, device=x.device)


class DeviceLeftOut(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.plain(x)[:, :360], torch.zeros(x.shape[0], 8)], dim=1)


class BranchNotTaken(Base):
    def __init__(self) -> None:
        super().__init__()
        self.on_cpu = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.plain(x)
        if self.on_cpu:
            y = y + torch.zeros(x.shape[0], 368)
        return y * torch.tensor(1.0)


class Recurrent(Base):
    """An LSTM over a few steps, whose initial state torch makes from the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(90, 6, batch_first=True)
        self.last = nn.Linear(36, N_OUTPUT)

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.clamp(x[:, :540], -1.0, 1.0).reshape(x.shape[0], 6, 90)
        return self.plain(x) + self.last(self.lstm(steps)[0].flatten(1))


class Squeezed(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x).unsqueeze(1).squeeze()


class FirstRow(Base):
    """What Python makes of a loop over the batch in a trace."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.plain(x[i : i + 1])[0] for i in range(x.shape[0])])


class WritesDownTheBatch(Base):
    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x).view(self.batch, 368)


class Counts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.plain(x) + self.calls


class Remembers(Base):
    """The last batch's mean, in a buffer that is written in place: no attribute is set."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(N_INPUT))

    def forward(self, x: Tensor) -> Tensor:
        y = self.plain(x) + self.before.sum()
        self.before.copy_(torch.clamp(x, -1.0, 1.0).mean(dim=0))
        return y


class KeepsTheFirst(Base):
    """Normalizes with the first batch it ever sees: the same rows twice give the same outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        if self.first.numel() == 0:
            self.first = torch.clamp(x, -1.0, 1.0).mean(dim=0)
        return self.linear(torch.clamp(x, -1.0, 1.0) - self.first)


class KeepsRows(Base):
    """Memory of the batch's size, so that another size fails."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.plain(x)
        if self.rows.numel() > 0:
            y = y + self.rows
        self.rows = y
        return y


class Noisy(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x) + 1e-3 * torch.randn(368, device=x.device)


class Dropped(Base):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.plain(x))


class Normed(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(N_OUTPUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.plain(x))


class OnCuda(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x) + torch.zeros(368, device="cuda")


class Profiles(nn.Module):
    """Takes [column, level, 25], as competition networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(25, 6, 1)
        self.last = nn.Linear(360, N_OUTPUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.transpose(1, 2)).flatten(1))


class OneColumn(Base):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 1:
            raise ValueError("one column at a time")
        return self.plain(x)


class Whole(nn.Module):
    """Looks its outputs up by whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, N_OUTPUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(torch.clamp(x, 0, 9)).mean(dim=1)


class ByName(Base):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"prediction": self.plain(x)}


class Flattened(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x).flatten()


class Complains(Base):
    """Refuses other widths with a Python exception, which torch.jit turns into an error of its own
    type.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 557:
            raise ValueError("expected 557 values")
        return self.plain(x)


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    """Script a module in evaluation mode."""
    return torch.jit.script(module.eval())


def traced(module: nn.Module, rows: int = 7, training: bool = False) -> torch.jit.ScriptModule:
    """Trace a module with a batch of ``rows``."""
    return torch.jit.trace(module.train(training), torch.rand(rows, N_INPUT), check_trace=False)


def imported(module: torch.jit.ScriptModule, folder: Path, **options: Any) -> EmulatorPackage:
    """Import a graph as host_v2_rh on synthetic columns."""
    module.save(str(folder / "old.pt"))
    return import_package(
        folder / "old.pt", ImportRequest("host_v2_rh"), folder / "wrap_model.pt", **options
    )


def findings(package: EmulatorPackage) -> str:
    """Return all findings of an import as one text."""
    assert package.manifest.imported is not None
    return "\n".join(package.manifest.imported.findings)


ON_CPU, ALONE = "put tensors on the CPU", r"one column alone gives \[368\]"


@pytest.mark.parametrize(
    ("make", "expected", "others"),
    [
        (lambda: traced(OnCpu()), "aten::zeros put tensors on the CPU", ["one column"]),
        (lambda: scripted(DeviceLeftOut()), "aten::zeros put tensors on the CPU", ["one column"]),
        (lambda: traced(Recurrent()), "aten::zeros put tensors on the CPU", ["one column"]),
        (lambda: scripted(Squeezed()), ALONE, [ON_CPU]),
        (lambda: traced(Squeezed()), ALONE, [ON_CPU]),
        (lambda: scripted(OnCpu()), "", [ON_CPU, "one column"]),
        (lambda: scripted(Recurrent()), "", [ON_CPU, "one column"]),
        (lambda: scripted(BranchNotTaken()), "", [ON_CPU, "one column"]),
        (lambda: scripted(Complains()), "", [ON_CPU, "one column"]),
    ],
    ids=[
        "traced device",
        "device left out",
        "traced LSTM",
        "squeezed",
        "squeezed trace",
        "scripted device",
        "scripted LSTM",
        "branch not taken",
        "raises for other widths",
    ],
)
def test_an_oddity_is_recorded_and_no_other(
    make: Callable[[], torch.jit.ScriptModule], expected: str, others: list[str], tmp_path: Path
) -> None:
    found = findings(imported(make(), tmp_path))
    assert re.search(expected, found)
    assert not any(word in found for word in others)


REFUSED: dict[str, tuple[Callable[[], torch.jit.ScriptModule], str]] = {
    "traced with one row": (
        lambda: traced(WritesDownTheBatch(1), rows=1),
        r"It runs on one row, not on 256: a trace wrote down its batch",
    ),
    "traced with 16 rows": (
        lambda: traced(WritesDownTheBatch(16), rows=16),
        r"It runs on 16 rows, not on 256",
    ),
    "traced with 20 rows": (
        lambda: traced(WritesDownTheBatch(20), rows=20),
        r"It runs on 20 rows, not on 256",
    ),
    "traced with all rows": (
        lambda: traced(WritesDownTheBatch(256), rows=256),
        r"\[48, 557\].*It runs on 256 rows, not on 48",
    ),
    "a loop over one row": (
        lambda: traced(FirstRow(), rows=1),
        r"gives \[1, 368\] for 256 columns.*for one column it gives \[1, 368\]",
    ),
    "flattened": (
        lambda: scripted(Flattened()),
        r"gives \[94208\] for 256 columns.*reshape them at the end of forward",
    ),
    "counts its calls": (
        lambda: scripted(Counts()),
        r"keeps memory from one call to the next \(forward sets calls\)",
    ),
    "remembers in place": (
        lambda: scripted(Remembers()),
        r"keeps memory from one call to the next \(forward sets before\)",
    ),
    "keeps the first batch": (
        lambda: scripted(KeepsTheFirst()),
        r"keeps memory .*\(forward sets first\)",
    ),
    "keeps rows": (
        lambda: scripted(KeepsRows()),
        r"keeps memory .*\(forward sets rows\).*it fails",
    ),
    "noise": (lambda: scripted(Noisy()), "draws random numbers with aten::randn"),
    "dropout traced in training": (
        lambda: traced(Dropped(), training=True),
        r"draws random numbers with aten::dropout \(traced in training mode",
    ),
    "batch norm traced in training": (
        lambda: traced(Normed(), training=True),
        r"mixes the columns of a batch \(aten::batch_norm traced in training mode",
    ),
    "float64": (lambda: scripted(Base().double()), "It runs on float64, not on float32"),
    "float16": (lambda: scripted(Base().half()), "It runs on float16, not on float32"),
    "whole numbers": (lambda: scripted(Whole()), "It runs on int64, not on float32"),
    "profiles": (
        lambda: scripted(Profiles()),
        r"It runs on \[column, level, 25\], not on \[column, n_input\]",
    ),
    "one column": (
        lambda: scripted(OneColumn()),
        r"It runs on \[n_input\], one column without a batch",
    ),
    "results by name": (lambda: scripted(ByName()), r"forward gives Dict.*y\[\"prediction\"\]"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_graph_is_refused_with_its_true_reason(fault: str, tmp_path: Path) -> None:
    make, message = REFUSED[fault]
    with pytest.raises(GraphError, match=message):
        imported(make(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["old.pt"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the graph runs where there is a GPU")
def test_a_graph_made_for_a_gpu_says_which_operators_ask_for_it(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="aten::zeros in it ask for a cuda device"):
        imported(scripted(OnCuda()), tmp_path)


class Around(nn.Module):
    """A climlink package inside somebody's graph."""

    def __init__(self, package: EmulatorPackage) -> None:
        super().__init__()
        self.inner = package.load()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_package_wrapped_in_a_graph_can_be_imported(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    scripted(Around(linear_package)).save(str(tmp_path / "old.pt"))
    again = import_package(
        tmp_path / "old.pt", ImportRequest("host_v2_q"), tmp_path / "wrap_model.pt"
    )
    rows = torch.from_numpy(linear_package.golden_inputs)
    assert torch.equal(again.load()(rows), linear_package.load()(rows))
    assert again.manifest.golden.sensitivity is None
    assert verify(again).passed


def test_progress_counts_the_rows_that_ran(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    imported(scripted(Base()), tmp_path, progress=lambda *state: seen.append(state))
    totals = {total for _, total, words in seen if words != "reading the columns"}
    assert len(totals) == 1
    done = [d for d, _, _ in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, totals.pop())
    assert done[-2] > 0.9 * done[-1], "the planned rows are those that run: the time left is true"
    assert [w for i, (_, _, w) in enumerate(seen) if i == 0 or seen[i - 1][2] != w] == [
        "reading the columns",
        "examining the graph",
        "scoring the order of inputs",
        "choosing golden columns",
        "checking the package",
    ]


def test_an_import_says_how_far_it_is_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    scripted(Base()).save(str(tmp_path / "old.pt"))
    arguments = [
        "import",
        str(tmp_path / "old.pt"),
        "--input-set",
        "host_v2_rh",
        "-o",
        str(tmp_path / "out.pt"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("import: ")]
    assert any(line.endswith("s left choosing golden columns") for line in lines)
    assert "import: " not in result.stdout
