"""Keep constraints.txt complete: every package that Gatehouse installs, at this environment's version.

    python .ci/constraints.py            say what is missing or differs; exit 1 if anything does
    python .ci/constraints.py --write    write the file anew

The CUDA packages that torch requires on some systems are left out: torch names their versions itself, and
another build of torch needs others.
"""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
FILE = ROOT / "constraints.txt"
HEADER = """\
# Every package that Gatehouse and its development tools install, at the version it is tested with.
# Written by `make constraints`. How to raise a version: CONTRIBUTING.md.
"""
# pip installs the rest, hatchling builds our package: both are used before anything of ours can require them.
TOOLS = ("pip", "hatchling")
OF_TORCH = ("nvidia-", "cuda-", "triton")


def declared() -> list[str]:
    """What pyproject.toml asks for, all extras together (installed metadata may be older than the file)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [line for lines in (project["dependencies"], *extras) for line in lines]
    return [line for line in asked if not line.startswith("gatehouse")]


def closure() -> dict[str, str]:
    """Name and version of every installed package that ours needs, directly or through others."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in (*declared(), *TOOLS)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        distribution = importlib.metadata.distribution(name)
        found[name] = Version(distribution.version).public  # without `+cpu`: which build is the user's choice
        for extra in {"", *requirement.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            needed = [Requirement(line) for line in distribution.requires or ()]
            waiting += [
                each
                for each in needed
                if not each.name.startswith(OF_TORCH)
                and (each.marker is None or each.marker.evaluate({"extra": extra}))
            ]
    return found


def main() -> int:
    """Write or compare; the exit status."""
    expected = HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(closure().items()))
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(expected, encoding="utf-8")
        return 0
    differing = set(expected.splitlines()) - set(FILE.read_text(encoding="utf-8").splitlines())
    for line in sorted(differing):
        print(f"constraints.txt lacks: {line}")
    if differing:
        print("Install what it names (make test does), or write it anew with `make constraints`.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
