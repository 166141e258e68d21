"""The generated files are those that the generators build, and the check would notice if they were not."""

from __future__ import annotations

from pathlib import Path

import pytest

import generate

SOME_FILE = Path("alert_rules/generated/alerts.rules.yaml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The generated files, freshly written somewhere else."""
    generate.write(tmp_path)
    return tmp_path


def test_committed_files_are_up_to_date() -> None:
    """If this fails: make generate."""
    assert generate.check(generate.ROOT) == []


def test_fresh_files_pass(copy: Path) -> None:
    """What is written is what is checked for."""
    assert generate.check(copy) == []


def test_a_stale_file_is_noticed_from_its_first_line_that_differs(copy: Path) -> None:
    """Edited by hand, or its generator has changed."""
    lines = (copy / SOME_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    for edited, line in (["groups: []\n"], 1), ([*lines[:2], "more\n", *lines[2:]], 3), (lines[:-1], len(lines)):
        (copy / SOME_FILE).write_text("".join(edited), encoding="utf-8")

        assert generate.check(copy) == [f"stale: {SOME_FILE}:{line}"]


def test_a_missing_file_is_noticed(copy: Path) -> None:
    """Built, but never committed."""
    (copy / SOME_FILE).unlink()

    assert generate.check(copy) == [f"missing: {SOME_FILE}"]


def test_a_leftover_file_is_noticed_and_removed(copy: Path) -> None:
    """Committed, but no longer built: Prometheus and Grafana would go on loading it."""
    extra = SOME_FILE.with_name("old.rules.yaml")
    (copy / extra).touch()

    assert generate.check(copy) == [f"left over: {extra}"]

    generate.write(copy)

    assert generate.check(copy) == []


def test_a_failed_check_names_the_command_that_fixes_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exits with 1, without touching the file."""
    (copy / SOME_FILE).write_text("", encoding="utf-8")
    monkeypatch.setattr(generate, "ROOT", copy)

    assert generate.main(["--check"]) == 1
    assert "make generate" in capsys.readouterr().out
    assert (copy / SOME_FILE).read_text(encoding="utf-8") == ""


def test_building_twice_gives_the_same() -> None:
    """Nothing depends on the clock, the machine or the order of a set."""
    assert generate.wanted() == generate.wanted()
