"""Write every generated file, or say which ones are not up to date.

The only place that touches the disk: each part's ``build`` is pure and returns file names and their text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path

import alert_rules
import collector
import dashboards

ROOT = Path(__file__).parent
FIX = "make generate"

PARTS: dict[str, Callable[[], dict[str, str]]] = {
    "alert_rules/generated": alert_rules.build,
    "dashboards/generated": dashboards.build,
}
"""Folders that hold nothing but what is built, and what builds them."""

if sys.version_info >= (3, 11):  # genai-prices, the source of the price table, needs it
    PARTS["collector/generated"] = collector.build


def wanted() -> dict[Path, str]:
    """Every generated file, relative to the repository, and its text."""
    return {Path(folder) / name: text for folder, build in PARTS.items() for name, text in build().items()}


def leftover(root: Path, built: Iterable[Path]) -> list[Path]:
    """Files in the generated folders that nothing builds any more."""
    found = (path.relative_to(root) for folder in PARTS for path in (root / folder).rglob("*") if path.is_file())
    return sorted(set(found) - set(built))


def check(root: Path) -> list[str]:
    """What is wrong with the generated files under the root, one line each."""
    built = wanted()
    differing = (problem for path, text in built.items() if (problem := _difference(root, path, text)))
    return [*differing, *(f"left over: {path}" for path in leftover(root, built))]


def _difference(root: Path, path: Path, text: str) -> str | None:
    """What is wrong with one file, and from which line on."""
    if not (root / path).is_file():
        return f"missing: {path}"
    found, built = (root / path).read_text(encoding="utf-8").splitlines(True), text.splitlines(True)
    if found == built:
        return None
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(found, built, strict=False)))
    return f"stale: {path}:{same + 1}"


def write(root: Path) -> None:
    """Make the generated folders hold what is built, and nothing else."""
    built = wanted()
    for path, text in built.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    for path in leftover(root, built):
        (root / path).unlink()


def main(arguments: list[str]) -> int:
    """Write the files, or with --check only compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    checking = parser.parse_args(arguments).check
    try:
        return _check() if checking else _write()
    except collector.OverridesError as error:
        print(error, file=sys.stderr)
        return 1


def _write() -> int:
    write(ROOT)
    return 0


def _check() -> int:
    if len(PARTS) < 3:
        print("skipped: collector/generated, whose source genai-prices needs Python 3.11")
    problems = check(ROOT)
    if problems:
        print(*problems, f"Generated files are out of date. Run `{FIX}` and commit the result.", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
