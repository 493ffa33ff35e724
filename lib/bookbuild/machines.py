"""Run every notebook as it would run on other processors: `python -m bookbuild.machines`.

NumPy, its BLAS and TensorFlow choose their code by the processor they find, and other code adds in another
order. Each identity below makes them take one choice; the stored outputs must come out again under all of
them, with one BLAS thread and with two. Identities are for x86-64. One that this processor cannot take is
left out (it would end in an illegal instruction); elsewhere only the threads vary.
"""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IDENTITIES = {
    "as it is": {},
    "Haswell (AVX2)": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "Skylake-X (AVX-512)": {"OPENBLAS_CORETYPE": "SkylakeX", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
NEEDS = {"Haswell (AVX2)": "avx2", "Skylake-X (AVX-512)": "avx512f"}


def processor_flags() -> set[str]:
    """What the processor can do, as Linux lists it; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not info.exists():
        return set()
    return set(next((line for line in info.read_text().splitlines() if line.startswith("flags")), "").split())


def notebooks_pass(settings: dict[str, str], threads: int) -> bool:
    """Run nbval over the chapters with these environment variables."""
    env = {**os.environ, **settings, "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--no-header", "chapters"]
    return subprocess.run(command, cwd=ROOT, env=env).returncode == 0


def main() -> int:
    flags, results = processor_flags(), []
    for name, settings in IDENTITIES.items():
        for threads in (1, 2):
            label, start = f"{name}, {threads} thread{'s' * (threads > 1)}", time.monotonic()
            if NEEDS.get(name, "") not in flags | {""}:
                results.append(f"left out  {label}: this processor has no {NEEDS[name]}")
                continue
            print(f"=== {label}", flush=True)
            verdict = "passed" if notebooks_pass(settings, threads) else "FAILED"
            results.append(f"{verdict}    {label} ({time.monotonic() - start:.0f} s)")
    print("\n".join(results))
    return 1 if any(line.startswith("FAILED") for line in results) else 0


if __name__ == "__main__":
    sys.exit(main())
