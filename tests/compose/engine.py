"""A Docker engine of the tests' own, which leaves nothing behind on the machine and disturbs no other engine.

It lives in namespaces of its own. Network: its bridges, its firewall rules and the ports it publishes exist only for
the thread that asks for them. Mounts: so do overlays and what is below /run. Processes: when the first one ends, for
whatever reason, the kernel ends containerd, its shims and the containers too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stack.native import build
from stack.native.programs import Build
from stack.settings import REPOSITORY, Settings, parse_env

COMPOSE_VERSION = "2.40.3"
COMPOSE = Build(
    "compose",
    {"docker-compose": "github.com/docker/compose/v2/cmd"},
    "github.com/docker/compose/v2",
    "github.com/docker/compose/v2/internal.Version",
    folder=Path(__file__).with_name("module"),
)

START_SECONDS = 60
STOP_SECONDS = 30
CLONE_NEWNET = 0x40000000

# The first process of the engine's namespaces. It ends the engine when the test run closes its standard input, which
# the kernel does for a test run that was killed.
FIRST_PROCESS = """
mount -t tmpfs tmpfs /run && exec 3<&0 || exit
"$@" &
engine=$!
{ read -r _ <&3; kill $engine; } &
wait $engine
"""


@dataclass(frozen=True)
class Engine:
    """A running engine, and the environment in which ``docker`` speaks to it."""

    environment: Mapping[str, str] = field(repr=False)

    def docker(self, *arguments: str) -> str:
        """Run a ``docker`` command in the repository and return what it printed; fails with its words if it fails."""
        result = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, env=self.environment, cwd=REPOSITORY, check=False
        )
        assert result.returncode == 0, f"docker {' '.join(arguments)}:\n{result.stdout}{result.stderr}"
        return result.stdout


def missing() -> str | None:
    """What this machine lacks for an engine of the tests' own, and how to get it; None when it lacks nothing."""
    if sys.platform != "linux":
        return f"the engine of this test runs on Linux only, this is {sys.platform}"
    if os.geteuid() != 0:
        return "the engine of this test needs root"
    for program, package in (
        ("dockerd", "docker.io"),
        ("docker", "docker.io, or docker-cli"),
        ("unshare", "util-linux"),
    ):
        if shutil.which(program) is None:
            return f"{program} is not on PATH: apt install {package}"
    if not _static_busybox():
        return "busybox is not on PATH, or not a static one: apt install busybox-static"
    return None


def _static_busybox() -> bool:
    path = shutil.which("busybox")
    # A dynamic program names its loader near its beginning.
    return path is not None and b"/ld-" not in Path(path).read_bytes()[:4096]


def compose_plugin(settings: Settings, say: Callable[[str], None]) -> Path | None:
    """The Compose plugin, built if need be; None when docker has one already."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return None
    pins = {**settings.pins, COMPOSE.version_variable: COMPOSE_VERSION}
    ours = Settings(pins=pins, cache=settings.cache, state=settings.state)
    return build.programs(ours, say, [COMPOSE])["docker-compose"]


@contextlib.contextmanager
def running(plugin: Path | None) -> Iterator[Engine]:
    """An engine while the block runs, for the calling thread and what it starts. Skips the test if it cannot start."""
    # The path of a socket must be short, so this is not below pytest's own directory.
    with tempfile.TemporaryDirectory(prefix="nightlight-docker-", dir="/tmp") as directory, _own_network():
        home = Path(directory)
        engine = Engine(_client_environment(home, plugin))
        with _daemon(home) as daemon:
            _wait_until_it_answers(engine, daemon, home / "log")
            yield engine


@contextlib.contextmanager
def _own_network() -> Iterator[None]:
    """Move the calling thread into a network with nothing but a loopback interface, and back."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run(["busybox", "ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot return to the network of before")


@contextlib.contextmanager
def _daemon(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    cgroup = f"nightlight-tests-{os.getpid()}"
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [
        *("dockerd", "--host", f"unix://{home}/socket", "--data-root", str(home / "data")),
        *("--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{cgroup}"),
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*namespaces, "sh", "-c", FIRST_PROCESS, "engine", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the test run, which then stops the containers in good order
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # and with it, the first process and all the others
            process.wait()
        _remove_cgroups(cgroup)


def _wait_until_it_answers(engine: Engine, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while daemon.poll() is None and time.monotonic() < deadline:
        asked = subprocess.run(["docker", "version"], capture_output=True, env=engine.environment, check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.2)
    last = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
    pytest.skip(f"dockerd does not come up here; it said: {last}")


def _client_environment(home: Path, plugin: Path | None) -> dict[str, str]:
    """No engine, project or pin of the shell's, but this engine's socket and plugin and the pins of .env."""
    plugins = home / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    if plugin:
        (plugins / "docker-compose").symlink_to(plugin)
    ours = {"DOCKER_HOST": f"unix://{home}/socket"}
    if plugin:
        ours["DOCKER_CONFIG"] = str(home / "config")
    pins = parse_env(REPOSITORY / ".env")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DOCKER_", "COMPOSE_")) and name not in pins
    } | ours


def _remove_cgroups(name: str) -> None:
    """A cgroup outlives its processes: remove those of the engine, the inner ones first."""
    root = Path("/sys/fs/cgroup")
    for ours in (*root.glob(name), *root.glob(f"*/{name}")):
        for directory, _, _ in os.walk(ours, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                Path(directory).rmdir()
