"""Builds the servers into the cache, one directory for each version, and says how far it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stack.errors import StackError
from stack.native import go
from stack.native.programs import BUILDS, Build, module_version
from stack.settings import Settings

MANIFEST = "manifest.json"
PROGRESS_SECONDS = 15.0


def programs(settings: Settings, say: Callable[[str], None], builds: Sequence[Build] = BUILDS) -> dict[str, Path]:
    """Return the path of every program, building what the cache lacks.

    Raises StackError when .env and a module pin disagree, a build fails, or the cache is damaged or not writable.
    """
    missing = []
    for build in builds:
        _check_pin(build, settings.pins)
        if not _entry(build, settings).exists():
            missing.append(build)
    if missing:
        _build_all(missing, settings, say)
    found: dict[str, Path] = {}
    for build in builds:
        found.update(_verified(_entry(build, settings)))
    return found


def _entry(build: Build, settings: Settings) -> Path:
    """The cache directory of a build. Its name changes with everything that decides the result."""
    recipe = hashlib.sha256(f"{build.tags} {sorted(build.packages)}".encode())
    for file in sorted(build.directory.iterdir()):
        recipe.update(file.read_bytes())
    return settings.cache / f"{build.name}-{settings.pins[build.version_variable]}-{recipe.hexdigest()[:12]}"


def _check_pin(build: Build, pins: Mapping[str, str]) -> None:
    wanted = module_version(build, pins)
    file = build.directory / "go.mod"
    pinned = re.search(rf"^\s*(?:require )?{re.escape(build.pin)} (\S+)", file.read_text(), re.MULTILINE)
    if pinned is None or pinned[1] != wanted:
        raise StackError(
            f".env sets {build.version_variable}={pins[build.version_variable]}, which is {build.pin} {wanted}, but "
            f"{file} pins {pinned[1] if pinned else 'nothing'}.",
            f"Undo the change in .env, or move the native pin with it:\n"
            f"  cd {file.parent} && GOFLAGS=-mod=mod go get {build.pin}@{wanted}",
        )


def _verified(entry: Path) -> dict[str, Path]:
    """The programs of a cache entry, each compared with the sum that was taken when it was built."""
    remedy = f"Remove the entry and run this again; it will be rebuilt:\n  rm -r {entry}"
    try:
        sums: dict[str, str] = json.loads((entry / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise StackError(f"The cache entry {entry} is damaged: {MANIFEST} cannot be read.", remedy) from error
    for name, expected in sums.items():
        try:
            actual = _sum(entry / name)
        except OSError as error:
            raise StackError(f"The cache entry {entry} is damaged: {name} cannot be read.", remedy) from error
        if actual != expected:
            size = (entry / name).stat().st_size
            raise StackError(
                f"The cache entry {entry} is damaged: {name} ({size:,} bytes) is not the program that was built.",
                remedy,
            )
    return {name: entry / name for name in sums}


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _build_all(builds: Sequence[Build], settings: Settings, say: Callable[[str], None]) -> None:
    _check_writable(settings.cache)
    toolchain = go.find(settings, say)
    names = ", ".join(f"{build.name} {settings.pins[build.version_variable]}" for build in builds)
    say(f"building {names} into {settings.cache}")
    say("this happens once for each version; with cold caches all of them take about 13 minutes on 2 cores")
    stop = threading.Event()
    # Two at a time: one downloads or links while the other compiles.
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(_build, build, settings, toolchain, say, stop) for build in builds]
        try:
            for future in running:
                future.result()
        except BaseException:
            stop.set()  # Ctrl-C or a failed build: end the others too, and leave nothing half-built
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _check_writable(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise StackError(
            f"The servers are built into {cache}, which is not writable: {error.strerror}.",
            "Make it writable, or choose another place:\n  export XDG_CACHE_HOME=/some/writable/directory",
        ) from error


def _build(
    build: Build, settings: Settings, toolchain: Path, say: Callable[[str], None], stop: threading.Event
) -> None:
    entry = _entry(build, settings)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{build.name}-", dir=settings.cache) as directory:
        output = Path(directory) / entry.name
        output.mkdir()
        _run_go(build, settings, toolchain, output, say, stop)
        sums = {name: _sum(output / name) for name in build.packages}
        (output / MANIFEST).write_text(json.dumps(sums, indent=1) + "\n")
        with contextlib.suppress(OSError):
            output.rename(entry)
        if not entry.exists():  # it does exist when another process built the same meanwhile
            raise StackError(f"{entry} could not be written.")
    say(f"built {' and '.join(build.packages)} in {time.monotonic() - begun:.0f} s")


def _run_go(
    build: Build, settings: Settings, toolchain: Path, output: Path, say: Callable[[str], None], stop: threading.Event
) -> None:
    """Run ``go build``, reporting what it does every PROGRESS_SECONDS. Raises StackError with its last words."""
    version = settings.pins[build.version_variable]
    target = output if len(build.packages) > 1 else output / next(iter(build.packages))
    command: list[str | Path] = [
        toolchain,
        "build",
        "-v",
        "-tags",
        build.tags,
        "-ldflags",
        f"-s -w -X {build.version_symbol}={version}",
    ]
    process = subprocess.Popen(
        [*command, "-o", target, *build.packages.values()],
        cwd=build.directory,
        env=go.environment(toolchain),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its compilers can be ended with it
    )
    tail: deque[str] = deque(maxlen=15)
    state = _Progress()
    reader = threading.Thread(target=_read, args=(process, tail, state), daemon=True)
    reader.start()
    begun = reported = time.monotonic()
    while process.poll() is None:
        if stop.wait(0.2):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise StackError(f"Building {build.name} was stopped.")
        if time.monotonic() - reported >= PROGRESS_SECONDS:
            reported = time.monotonic()
            say(f"{build.name}: {state} ({reported - begun:.0f} s)")
    reader.join(timeout=5)
    if process.returncode != 0:
        raise StackError(
            f"Building {build.name} {version} failed (go build, exit code {process.returncode}). Its last lines:\n"
            + "\n".join(f"  {line}" for line in tail),
            "If a download failed, check that the Go module proxy can be reached; then run this again.\n"
            "With Docker nothing needs to be built: docker compose up -d",
        )


class _Progress:
    """How many modules were downloaded and how many packages were compiled so far."""

    downloads = 0
    packages = 0

    def __str__(self) -> str:
        if self.packages == 0 and self.downloads == 0:
            return "reading the cache"
        compiled = f"compiled {self.packages} packages"
        return compiled if self.packages else f"downloaded {self.downloads} modules"


def _read(process: subprocess.Popen[str], tail: deque[str], state: _Progress) -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if line.startswith("go: downloading "):
                state.downloads += 1
            elif re.fullmatch(r"[\w.~/-]+\n", line):
                state.packages += 1
            else:
                tail.append(line.rstrip())
