"""Shared by the tests of what we ship for other systems: rendered manifests and our own program."""

import os
import pathlib
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def render():
    """kustomization folder -> {(kind, name): object}. Without kubectl there is nothing to test: fails."""
    assert shutil.which("kubectl"), "kubectl is missing: deploy/install-packages kubernetes"

    def run(folder):
        result = subprocess.run(["kubectl", "kustomize", str(ROOT / "deploy/kubernetes" / folder)],
                                capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        objects = [document for document in yaml.safe_load_all(result.stdout) if document]
        table = {(o["kind"], o["metadata"]["name"]): o for o in objects}
        assert len(table) == len(objects), "two objects of one kind share a name"
        return table

    return run


@pytest.fixture(scope="session")
def oceanid():
    """Our program, named by the environment variable OCEANID, else the release build."""
    path = os.environ.get("OCEANID", str(ROOT / "build/release/oceanid"))
    assert os.access(path, os.X_OK), f"{path} is not an executable program: cmake --build --preset release, or set OCEANID"
    return path
