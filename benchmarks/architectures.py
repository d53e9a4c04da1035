"""What the six networks of the ClimSim online study cost with the inputs of every recipe:
parameters beside the published ones, multiply-adds, and time beside the U-Net's.

    python benchmarks/architectures.py -o table.md
    python benchmarks/architectures.py --no-time

Parameters and multiply-adds need no run: networks are built on torch's meta device. Multiply-adds
are those of one column in matrix products and convolutions, zeros beyond the ends of the column
counted, by torch's FlopCounterMode, which tests hold against counts by hand. Time is of forwards of
384 columns on one thread, each network in turn with the U-Net of the same recipe: median of the
ratios, lowest and highest. The difference recipe has another loss than the standard one, not
another network: it is timed once.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from timing import ratio

from climlink.architectures import ColumnEmulator, ColumnShape, build
from climlink.architectures.cost import example, multiply_adds
from climlink.provenance import kernel_identity
from climlink.wrappers.column_emulator import trainable_parameters
from climlink.wrappers.variable_sets import variable_set

BASELINE = "unet"
COLUMNS = 384
FROZEN = 592_384
"""Parameters of the published U-Net's identity convolutions, which never train."""


@dataclass(frozen=True)
class Recipe:
    """The inputs of a network, and whether it predicts its confidence."""

    inputs: str
    confidence: bool = False

    @property
    def shape(self) -> ColumnShape:
        """Channels and levels."""
        i, o = variable_set(self.inputs), variable_set("net308")
        return ColumnShape(
            len(i.profiles), len(i.scalars), len(o.profiles), len(o.scalars), i.level_count
        )

    def network(self, architecture: str, preset: str) -> ColumnEmulator:
        """Return a network with fresh weights."""
        configuration = {"preset": preset, "confidence": self.confidence}
        network = build(architecture, configuration, self.shape)
        assert isinstance(network, ColumnEmulator)
        return network

    def cost(self, architecture: str, preset: str) -> tuple[int, int]:
        """Return trainable parameters and multiply-adds of one column."""
        with torch.device("meta"):
            parameters = trainable_parameters(self.network(architecture, preset))
        return parameters, multiply_adds(lambda: self.network(architecture, preset))


RECIPES = {
    "standard": Recipe("net_v2_mc"),
    "confidence": Recipe("net_v2_mc", confidence=True),
    "difference": Recipe("net_v2_mc"),
    "multirepresentation": Recipe("net_multirep"),
    "v6": Recipe("net_v6_mc"),
}

# Counted by instantiating the networks of github.com/SciPritchardLab/climsim-kaggle-edition, in the
# order of RECIPES; equal to the numbers in its figures.
PUBLISHED = {
    "unet": (12_975_373, 12_980_634, 12_975_373, 12_981_517, 12_981_517),
    "squeezeformer": (44_785_225, 44_811_862, 44_785_225, 44_791_369, 44_791_369),
    "pure_reslstm": (15_395_341, 15_402_010, 15_395_341, 15_428_109, 15_428_109),
    "pao": (18_876_133, 25_407_346, 18_876_133, 18_880_613, 18_880_373),
    "convnext": (26_805_429, 26_839_242, 26_805_429, 26_811_573, 26_811_573),
    "encoder_decoder_lstm": (18_582_976, 20_723_124, 18_582_976, 21_004_960, 21_004_960),
}

# Of the original networks with standard inputs (Pao: multirepresentation, as its standard copy does
# not run), 384 columns, one thread of a CPU; good to about 30 %.
ORIGINAL_RATIOS = {
    ("unet", "standard"): 1.0,
    ("squeezeformer", "standard"): 24.2,
    ("pure_reslstm", "standard"): 2.5,
    ("pao", "multirepresentation"): 2.1,
    ("convnext", "standard"): 8.0,
    ("encoder_decoder_lstm", "standard"): 1.9,
}


def main() -> None:
    """Print the tables and, if asked for, write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, help="Markdown file to write")
    parser.add_argument("--no-time", action="store_true", help="parameters and multiply-adds only")
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs of forwards")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = "\n".join([*published(0 if given.no_time else given.pairs), "", *smaller()]) + "\n"
    print(text, end="")
    if given.output:
        given.output.write_text(text, encoding="utf-8")


def published(pairs: int) -> list[str]:
    """Return the table of the published presets; without times for 0 pairs."""
    lines = [
        f"Time ratios: {COLUMNS} columns, one thread of {processor()}, torch {torch.__version__}, "
        f"median of {pairs} interleaved pairs (lowest to highest)."
        if pairs
        else "Not timed.",
        f"The published U-Net holds {FROZEN:,} more, frozen parameters.",
        "",
        "| architecture | recipe | trainable | published | | multiply-adds (M) | time / U-Net | "
        "original |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, expected in PUBLISHED.items():
        times: dict[Recipe, str] = {}
        for (recipe_name, recipe), known in zip(RECIPES.items(), expected, strict=True):
            parameters, products = recipe.cost(name, "published")
            if recipe not in times:
                times[recipe] = time_ratio(name, recipe, pairs)
            original = ORIGINAL_RATIOS.get((name, recipe_name), "")
            lines.append(
                f"| {name} | {recipe_name} | {parameters:,} | {known:,} | "
                f"{'equal' if parameters == known else 'DIFFERENT'} | {products / 1e6:.1f} | "
                f"{times[recipe]} | {original} |"
            )
    return lines


def processor() -> str:
    """Return the name of the CPU and its vector instruction set."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{next(iter(named), platform.machine())} ({kernel_identity()})"


def time_ratio(name: str, recipe: Recipe, pairs: int) -> str:
    """Return the time of a forward over that of the U-Net, "" for no pairs."""
    if not pairs:
        return ""
    if name == BASELINE:
        return "1"
    networks = [recipe.network(n, "published").eval() for n in (name, BASELINE)]
    inputs = example(recipe.shape, COLUMNS)
    with torch.inference_mode():
        calls = [lambda network=network: network(*inputs) for network in networks]
        median, lowest, highest = ratio(*calls, pairs=pairs)
    return f"{median:.2f} ({lowest:.2f} to {highest:.2f})"


def smaller() -> list[str]:
    """Return the table of the presets that train on a CPU."""
    recipes = {n: r for n, r in RECIPES.items() if n != "difference"}
    lines = [
        "Trainable parameters / multiply-adds of one column (M); difference is as standard.",
        "",
        f"| architecture | preset | {' | '.join(recipes)} |",
        "|---" * (2 + len(recipes)) + "|",
    ]
    for name in PUBLISHED:
        for preset in ("small", "tiny"):
            costs = [recipe.cost(name, preset) for recipe in recipes.values()]
            cells = [f"{parameters:,} / {products / 1e6:.2f}" for parameters, products in costs]
            lines.append(f"| {name} | {preset} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
