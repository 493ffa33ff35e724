"""Make the Python environment .venv, whole or not at all. The Makefile runs this before every target.

    python lib/bookbuild/bootstrap.py [lock]

Only the standard library is needed. The last act of an installation is to write a stamp file into .venv,
whose name is a digest of everything the environment was made from. Without that stamp (the install was
interrupted, the lock or the requirements have changed) the environment is removed and made anew.

On Linux x86-64 the versions are those of requirements.lock, checked against its hashes. Elsewhere, or with
LOCK=no in the environment, pip picks the newest versions that pyproject.toml allows. `lock` writes
requirements.lock anew; pins that still fit stay (remove the file first to move to the newest versions).
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
BASE = getattr(sys, "_base_executable", sys.executable)  # .venv/bin/python itself may run this file
EXACT = (sys.platform, platform.machine()) == ("linux", "x86_64") and os.environ.get("LOCK") != "no"
UV = (
    "pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --extra dev "
    "--no-emit-index-url --no-emit-find-links -o requirements.lock pyproject.toml"
)


def stamp() -> Path:
    """The file whose presence says that .venv is complete and up to date."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [json.dumps(project[key], sort_keys=True) for key in ("project", "build-system")]
    parts += [(ROOT / "requirements.lock").read_text(encoding="utf-8")] if EXACT else []
    parts += [str(ROOT), "{}.{}".format(*sys.version_info)]
    return VENV / f"complete-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


def run(*command: str | Path) -> None:
    """Run a command in the repository; its failure ends the program (its own messages say why)."""
    code = subprocess.run([str(part) for part in command], cwd=ROOT).returncode
    if code:
        sys.exit(f"failed, exit code {code}: {' '.join(str(part) for part in command)}")


def new_venv(folder: Path) -> Path:
    """Make an empty virtual environment; returns its Python."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = "{}.{}".format(*sys.version_info)
        sys.exit(
            f"{BASE} has no {' and no '.join(missing)}, which making an environment needs. On Debian and "
            f"Ubuntu: apt install python{version}-venv. Or name another Python: make ... PYTHON=python3.12"
        )
    run(BASE, "-m", "venv", folder)
    return folder / "bin" / "python"


def install(python: Path) -> None:
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    if EXACT:
        run(*pip, "install", "--quiet", "--require-hashes", "-r", "requirements.lock")
        run(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
    else:
        run(*pip, "install", "--quiet", "-e", ".[dev]")


def environment() -> None:
    """Make .venv if its stamp is missing. A second `make` waits here until the first is done."""
    with open(ROOT / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (done := stamp()).exists():
            return
        source = "requirements.lock" if EXACT else "the ranges in pyproject.toml"
        print(
            f"making .venv with Python {platform.python_version()} from {source}; this takes a minute or two"
        )
        shutil.rmtree(VENV, ignore_errors=True)
        install(new_venv(VENV))
        done.touch()


def lock() -> None:
    """Write requirements.lock with uv, from an environment that is thrown away."""
    os.environ["UV_CUSTOM_COMPILE_COMMAND"] = "make lock"  # no path of this machine gets into the file
    with tempfile.TemporaryDirectory() as folder:
        python = new_venv(Path(folder) / "uv")
        run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "uv")
        run(python, "-m", "uv", "--quiet", *UV.split())


if __name__ == "__main__":
    try:
        lock() if sys.argv[1:] == ["lock"] else environment()
    except KeyboardInterrupt:
        sys.exit("interrupted")
