"""Which instructions compiled code may use: the compiler's macros, and Linux's names for them."""

from __future__ import annotations

_LINUX_NAMES = {
    "SSE3": "pni",
    "BMI": "bmi1",
    "LZCNT": "abm",
    "SHA": "sha_ni",
    "PCLMUL": "pclmulqdq",
    "RDRND": "rdrand",
    "AVX512VBMI2": "avx512_vbmi2",
    "AVX512VNNI": "avx512_vnni",
    "AVX512BITALG": "avx512_bitalg",
    "AVX512VPOPCNTDQ": "avx512_vpopcntdq",
    "AVX512BF16": "avx512_bf16",
    "AVX512FP16": "avx512_fp16",
    "AVXVNNI": "avx_vnni",
}
"""Where Linux's name of an instruction set is not the macro's in small letters."""

_AS_LINUX = (
    *("SSE4_1", "SSE4_2", "SSSE3", "SSE4A", "AVX", "AVX2", "FMA", "F16C", "BMI2", "MOVBE"),
    *("POPCNT", "AES", "VAES", "VPCLMULQDQ", "GFNI", "ADX", "RDSEED"),
    *("AMX_TILE", "AMX_BF16", "AMX_INT8", "AMX_FP16"),
    *("AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL", "AVX512IFMA", "AVX512VBMI"),
)

_FLAGS = {f"__{name}__": name.lower() for name in _AS_LINUX} | {
    f"__{macro}__": flag for macro, flag in _LINUX_NAMES.items()
}


def flags_of_macros(macros: str) -> list[str]:
    """Return the flags of /proc/cpuinfo, sorted, that code needs whose compiler defines these
    macros (``g++ -dM -E``); none on processors other than x86-64.
    """
    defined = {parts[1] for line in macros.splitlines() if len(parts := line.split()) > 1}
    return sorted(flag for macro, flag in _FLAGS.items() if macro in defined)
