"""The Dockerfile without an engine: what it copies exists, what it installs has a name in the
distribution, and what it copies is enough to configure the build."""

import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
import yaml


@pytest.fixture(scope="module")
def instructions(root):
    """[(instruction, rest)] with continued lines joined."""
    text = (root / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def packages(root):
    """{section: [package]} of deploy/packages."""
    sections = {}
    current = None
    for line in (root / "deploy/packages").read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if re.fullmatch(r"\[[a-z-]+\]", line):
            current = sections.setdefault(line[1:-1], [])
        elif line:
            assert current is not None, f"package before any section: {line}"
            current += line.split()
    return sections


def copies(instructions):
    """[(--from stage or None, [sources], destination)]"""
    result = []
    for name, rest in instructions:
        if name == "COPY":
            words = shlex.split(rest)
            stage = next((w.partition("=")[2] for w in words if w.startswith("--from=")), None)
            paths = [w for w in words if not w.startswith("--")]
            result.append((stage, paths[:-1], paths[-1]))
    return result


def sources(instructions):
    return [source for stage, paths, _ in copies(instructions) if stage is None for source in paths]


def test_stages(instructions):
    stages = [rest.split()[-1] for name, rest in instructions if name == "FROM"]
    assert stages == ["build", "run"]
    assert [stage for stage, _, _ in copies(instructions) if stage] == ["build"]
    assert ("ARG", "BASE=debian:bookworm-slim") in instructions


def test_everything_copied_exists_and_is_sent_to_the_engine(instructions, root):
    ignore = (root / "deploy/docker/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore
    sent = [line[1:] for line in ignore if line.startswith("!")]
    for source in sources(instructions):
        assert (root / source).exists(), source
        assert any(pathlib.PurePath(source).is_relative_to(path) for path in sent), f"{source} is not sent"


def test_sections_and_package_names_exist(instructions, packages):
    used = {section for name, rest in instructions if name == "RUN"
            for section in re.findall(r"install-packages ([a-z-]+)", rest)}
    assert used == {"build", "run"}
    assert used <= set(packages)
    assert {"nftables", "wireguard-go"} <= set(packages["run"])
    assert shutil.which("apt-cache")
    for section in sorted(used):
        for package in packages[section]:
            known = subprocess.run(["apt-cache", "show", "--no-all-versions", package], capture_output=True,
                                   text=True, timeout=30, check=False)
            assert known.returncode == 0, f"[{section}] {package}: {known.stderr.strip()}"


def test_what_is_copied_is_enough_to_configure(instructions, root, tmp_path):
    for source in sources(instructions):
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / source).is_dir():
            shutil.copytree(root / source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(root / source, target)
    run = next(rest for name, rest in instructions if name == "RUN" and "cmake --preset" in rest)
    configure = shlex.split(run.split("&&")[0])
    configure = [word for word in configure if not word.startswith("-DWG_EMBEDDABLE_DIR=")]  # installed here
    result = subprocess.run(configure, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr


def test_unprivileged_by_default_with_the_number_that_the_manifest_uses(instructions, root):
    assert ("USER", "10128:10128") in instructions
    assert ("ENTRYPOINT", '["/usr/bin/oceanid"]') in instructions and ("CMD", '["run"]') in instructions
    run = " ".join(rest for name, rest in instructions if name == "RUN")
    assert "--uid 10128" in run and "--gid 10128" in run
    deployment = yaml.safe_load((root / "deploy/kubernetes/overlays/proxy-only/deployment.yaml").read_text())
    security = deployment["spec"]["template"]["spec"]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (10128, 10128)


def test_every_library_of_the_program_is_installed_in_the_image(oceanid, packages):
    """Each shared library that the program names itself comes from a package of [run] or is ours."""
    dynamic = subprocess.run(["objdump", "-p", oceanid], capture_output=True, text=True, timeout=30, check=True)
    needed = re.findall(r"^\s+NEEDED\s+(\S+)", dynamic.stdout, re.MULTILINE)
    assert needed
    resolved = dict(re.findall(r"^\s*(\S+) => (\S+)", subprocess.run(
        ["ldd", oceanid], capture_output=True, text=True, timeout=30, check=True).stdout, re.MULTILINE))
    essential = {"libc6", "libgcc-s1", "libstdc++6"}  # in every Debian image, or pulled in by all the others
    for library in needed:
        if library.startswith("liboceanid"):
            continue
        path = pathlib.Path(resolved[library]).resolve()
        owner = subprocess.run(["dpkg", "-S", f"*/{path.name}"], capture_output=True, text=True, timeout=30,
                               check=False).stdout
        owners = {line.split(":")[0] for line in owner.splitlines()}
        assert owners & (set(packages["run"]) | essential), f"{library}: comes from {owners or 'no package'}"
