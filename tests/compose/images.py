"""Stand-in images: the native servers, laid out like the images whose names docker-compose.yml gives.

What is imitated is what Compose relies on: where the program is, whom it runs as, whose the data directory is, and
whether there is a shell.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.compose.engine import Engine

NOBODY = 65534
USERS = f"root:x:0:0:root:/root:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:nobody:/:/bin/false\n"
APPLETS = ("sh", "sleep", "chown", "wget", "cat", "ls")


@dataclass(frozen=True)
class Layout:
    """What is in an image, and what its configuration says."""

    program: str
    entrypoint: str
    user: str
    owner: int
    data: str | None = None
    volume: bool = False  # the image declares its data directory as a volume
    shell: bool = False


# By the service of docker-compose.yml that runs it.
LAYOUTS = {
    "collector": Layout("otelcol", "/otelcol-contrib", "10001", 10001),
    "prometheus": Layout("prometheus", "/bin/prometheus", "nobody", NOBODY, "/prometheus", volume=True, shell=True),
    "alertmanager": Layout(
        "alertmanager", "/bin/alertmanager", "nobody", NOBODY, "/alertmanager", volume=True, shell=True
    ),
    "tempo": Layout("tempo", "/tempo", "10001:10001", 10001, "/var/tempo"),
    "loki": Layout("loki", "/usr/bin/loki", "10001", 10001, "/loki"),
}


def make(engine: Engine, tags: Mapping[str, str], programs: Mapping[str, Path]) -> None:
    """Make the image of every service in LAYOUTS, under the tag that ``tags`` has for the service."""
    for service, layout in LAYOUTS.items():
        _import(engine, tags[service], layout, programs[layout.program])


def _import(engine: Engine, tag: str, layout: Layout, program: Path) -> None:
    configuration = [f"ENTRYPOINT {json.dumps([layout.entrypoint])}", f"USER {layout.user}"]
    if layout.volume:
        configuration.append(f"VOLUME {layout.data}")
    process = subprocess.Popen(
        ["docker", "import", *(f"--change={line}" for line in configuration), "-", tag],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=engine.environment,
    )
    assert process.stdin is not None
    with process, process.stdin, tarfile.open(fileobj=process.stdin, mode="w|") as archive:
        _fill(archive, layout, program)
    assert process.returncode == 0, f"docker import {tag}"


def _fill(archive: tarfile.TarFile, layout: Layout, program: Path) -> None:
    _add_program(archive, layout.entrypoint, program)
    if layout.data:
        data = tarfile.TarInfo(layout.data)
        data.type, data.mode, data.uid, data.gid = tarfile.DIRTYPE, 0o755, layout.owner, layout.owner
        archive.addfile(data)
    if layout.shell:
        passwd = tarfile.TarInfo("/etc/passwd")
        passwd.size = len(USERS)
        archive.addfile(passwd, io.BytesIO(USERS.encode()))
        _add_program(archive, "/bin/busybox", Path(str(shutil.which("busybox"))))
        for name in APPLETS:
            link = tarfile.TarInfo(f"/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)


def _add_program(archive: tarfile.TarFile, path: str, program: Path) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = program.stat().st_size, 0o755
    with program.open("rb") as file:
        archive.addfile(member, file)
