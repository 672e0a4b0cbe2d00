"""What each distribution of the repository must have, so that it can be installed without the others."""

from pathlib import Path

import pytest
import tomli

from slmk.registry import FIRST_PARTY, FIRST_PARTY_COMMANDS

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))]


def manifest(folder):
    return tomli.loads((folder / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_distribution_stands_alone(folder):
    """It holds the licence, says that it is typed, and asks for kernels that keep its contract."""
    project = manifest(folder)
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert project["license-files"] == ["LICENSE"]
    assert all((package / "py.typed").exists() for package in folder.glob("src/*") if package.name.startswith("slmk"))
    kernel = [each for each in project["dependencies"] if each.startswith("slmk") and not each.startswith("slmk-")]
    assert kernel == ([] if folder.name == "core" else ["slmk>=0.1,<0.2"])


def test_every_plugin_is_known_to_the_kernel_and_to_the_whole():
    """Otherwise docs have no page of it, no advice names it, and `slmk-lab` lacks it."""
    offering = {manifest(folder)["name"] for folder in FOLDERS if "entry-points" in manifest(folder)}
    known = {f"slmk-{kind}-{name}".replace("_", "-") for kind, names in FIRST_PARTY.items() for name in names}
    assert offering == known | set(FIRST_PARTY_COMMANDS.values()) | {"slmk"}
    wanted = {each.partition("[")[0] for each in manifest(ROOT)["dependencies"]}
    assert wanted == offering
