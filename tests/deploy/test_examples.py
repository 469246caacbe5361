"""One complete example per role, each accepted by the program as it is."""

import subprocess

import pytest
import yaml

ROLES = ["exit.yaml", "proxy-pod.yaml", "second-exit.yaml", "worker-behind-nat.yaml", "worker.yaml"]


def check(oceanid, path):
    return subprocess.run([oceanid, "check", "-c", str(path)], capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def folder(root):
    return root / "deploy/examples"


def test_every_role_has_its_example(folder):
    assert sorted(path.name for path in folder.glob("*.yaml")) == ROLES


@pytest.mark.parametrize("name", ROLES)
def test_oceanid_check_accepts_it(folder, name, oceanid):
    result = check(oceanid, folder / name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_oceanid_check_refuses_a_spoiled_one(folder, oceanid, tmp_path):
    spoiled = tmp_path / "exit.yaml"
    spoiled.write_text((folder / "exit.yaml").read_text().replace("uplink: eth0", "uplnk: eth0"))
    result = check(oceanid, spoiled)
    assert result.returncode == 2
    assert "uplink" in result.stdout + result.stderr


def test_examples_and_node_files_describe_one_cluster(folder, root):
    """The same nodes stand in deploy/kubernetes; an address that differs would mislead."""
    for name in set(ROLES) - {"proxy-pod.yaml"}:
        example = yaml.safe_load((folder / name).read_text())
        node = yaml.safe_load((root / f"deploy/kubernetes/base/nodes/{example['node']}.yaml").read_text())
        for key in ("tunnel", "serve_exit", "routing"):
            assert example.get(key) == node.get(key), (name, key)
        assert [e["address"] for e in example["exits"]] == [e["address"] for e in node["exits"]]
