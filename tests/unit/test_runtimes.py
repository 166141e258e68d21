"""Docker or native: which one is taken, and what is said about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack import docker, settings
from stack.native import go
from stack.native.process import Process, start


def executable(path: Path, script: str) -> None:
    """A program on PATH that behaves as the machine of the test should."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "docker is not on PATH"),
        ("exit 1", "docker has no Compose plugin"),
        ('[ "$1" = compose ]', "no Docker engine answers"),
        (
            'case "$*" in "compose config --images") echo a/b:1;; "image inspect a/b:1"|*pull*) exit 1;; esac',
            "the images are not here and cannot be pulled",
        ),
        ('case "$*" in "compose config --images") echo a/b:1;; esac', None),
    ],
)
def test_docker_is_taken_when_engine_plugin_and_images_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str | None
) -> None:
    if script is not None:
        executable(tmp_path / "bin" / "docker", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert docker.why_not(settings.load(os.environ), lambda _: None) == reason


def test_an_old_go_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings.load({"HOME": str(tmp_path)})
    executable(tmp_path / "bin" / "go", "echo go1.21.4")
    cached = found.cache / "go-1.26.6" / "go" / "bin" / "go"
    cached.parent.mkdir(parents=True)
    executable(cached, "echo go1.26.6")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert go.find(found, lambda _: None) == cached


def test_a_new_go_on_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "bin" / "go", "echo go1.27.3")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert go.find(settings.load({"HOME": str(tmp_path)}), lambda _: None) == tmp_path / "bin" / "go"


def test_a_process_that_ignores_being_asked_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = start(
        ["sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 0.1; done'],
        log=log,
        environment=dict(os.environ),
        directory=tmp_path,
    )
    while not log.read_text():
        assert stubborn.alive()

    stubborn.stop(grace_seconds=0.3)

    assert not stubborn.alive()
    assert stubborn.memory_bytes() is None
    assert not Process(os.getpid(), "another time").alive()
