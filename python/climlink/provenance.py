"""Which software and which machine made something."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path


def climlink_version() -> str:
    """Return the version of the installed climlink."""
    return metadata.version("climlink")


def git_revision() -> str | None:
    """Return the revision of climlink's source tree, with ``-dirty`` for uncommitted changes; None
    outside a checkout.
    """
    here = Path(__file__).resolve().parent
    command = [
        "git",
        "-C",
        str(here),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty",
        "--exclude=*",
    ]
    try:
        result = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def kernel_identity() -> str:
    """Return CPU vendor and vector instruction set: equal identity and torch version give the same
    kernels.
    """
    import torch  # not at the top: who only asks for a version need not wait for it

    return f"{_cpu_vendor()} {torch.backends.cpu.get_cpu_capability()}"


def _cpu_vendor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("vendor_id", "CPU implementer"):
            return value.strip()
    return "unknown"
