"""The Kubernetes manifests as the API server gets them: what they may do, and what they must not."""

import subprocess

import pytest
import yaml

NODES = ["calypso", "meliae", "styx", "tethys"]
CAPABILITIES = ["NET_ADMIN", "NET_RAW", "SETGID", "SETPCAP", "SETUID"]
PODS = "10.42.0.0/16"


@pytest.fixture(scope="module")
def base(render):
    return render("base")


@pytest.fixture(scope="module")
def proxy_only(render):
    return render("overlays/proxy-only")


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def only_container(pod):
    assert not pod.get("initContainers") and not pod.get("ephemeralContainers")
    assert len(pod["containers"]) == 1
    return pod["containers"][0]


def configurations(objects):
    """{file name: text} of every oceanid configuration that the ConfigMap carries."""
    return objects[("ConfigMap", "oceanid-config")]["data"]


def workloads(objects):
    return [o for (kind, _), o in objects.items() if kind in ("DaemonSet", "Deployment")]


def test_base_has_these_objects_and_no_other(base):
    assert sorted(base) == [
        ("ConfigMap", "oceanid-config"), ("DaemonSet", "oceanid"), ("Namespace", "egress-system"),
        ("NetworkPolicy", "deny-all"), ("Role", "oceanid-discovery"), ("RoleBinding", "oceanid-discovery"),
        ("Secret", "oceanid-secrets"), ("Service", "egress-gateway"), ("ServiceAccount", "oceanid")]


@pytest.mark.parametrize("folder", ["base", "overlays/proxy-only"])
def test_everything_lives_in_egress_system(render, folder):
    for (kind, name), item in render(folder).items():
        if kind == "Namespace":
            assert name == "egress-system"
        else:
            assert item["metadata"].get("namespace") == "egress-system", (kind, name)


def test_client_policies_take_the_namespace_they_are_applied_to(render):
    for item in render("client-namespace").values():
        assert "namespace" not in item["metadata"]


def test_gateway_is_never_privileged_and_names_its_capabilities(base):
    security = only_container(pod_of(base[("DaemonSet", "oceanid")]))["securityContext"]
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["capabilities"]["drop"] == ["ALL"]
    assert sorted(security["capabilities"]["add"]) == CAPABILITIES


def test_gateway_shares_the_nodes_network_and_nothing_else(base):
    pod = pod_of(base[("DaemonSet", "oceanid")])
    assert pod["hostNetwork"] is True
    assert pod["dnsPolicy"] == "Default"
    assert not pod.get("hostPID") and not pod.get("hostIPC")
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert base[("DaemonSet", "oceanid")]["spec"]["updateStrategy"]["type"] == "RollingUpdate"


def test_gateway_mounts_of_the_host_exactly_what_it_manages(base):
    pod = pod_of(base[("DaemonSet", "oceanid")])
    host = {v["name"]: (v["hostPath"]["path"], v["hostPath"]["type"]) for v in pod["volumes"] if "hostPath" in v}
    mounts = {m["name"]: m for m in only_container(pod)["volumeMounts"]}
    assert sorted(host.values()) == [
        ("/dev/net/tun", "CharDevice"), ("/proc/sys/net", "Directory"),
        ("/run/oceanid", "DirectoryOrCreate"), ("/var/lib/oceanid", "DirectoryOrCreate")]
    by_path = {path: mounts[name] for name, (path, _) in host.items()}
    assert by_path["/proc/sys/net"]["mountPath"] == "/host/proc/sys/net"
    assert not by_path["/proc/sys/net"].get("readOnly")
    assert by_path["/dev/net/tun"]["mountPath"] == "/dev/net/tun"
    assert by_path["/var/lib/oceanid"]["mountPath"] == "/var/lib/oceanid"
    # runc refuses to start a container with a mount inside /proc.
    assert not [m for m in mounts.values() if m["mountPath"].startswith("/proc")]
    assert {m["name"] for m in mounts.values()} == {v["name"] for v in pod["volumes"]}


def test_configuration_and_secrets_are_read_only(base):
    pod = pod_of(base[("DaemonSet", "oceanid")])
    mounts = {m["name"]: m for m in only_container(pod)["volumeMounts"]}
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert mounts["config"]["readOnly"] is True and mounts["secrets"]["readOnly"] is True
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o400


def test_each_node_runs_its_own_key_of_the_configmap(base):
    container = only_container(pod_of(base[("DaemonSet", "oceanid")]))
    assert container["args"] == ["run", "-c", "/etc/oceanid/nodes/$(NODE_NAME).yaml"]
    assert container["env"] == [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    config = next(m for m in container["volumeMounts"] if m["name"] == "config")
    assert config["mountPath"] == "/etc/oceanid/nodes"
    assert "subPath" not in config and "subPathExpr" not in config  # they never see a change
    files = configurations(base)
    assert sorted(files) == [f"{node}.yaml" for node in NODES]
    for node in NODES:
        assert yaml.safe_load(files[f"{node}.yaml"])["node"] == node


@pytest.mark.parametrize("folder", ["base", "overlays/proxy-only"])
def test_probes_requests_and_limits(render, folder):
    (workload,) = workloads(render(folder))
    container = only_container(pod_of(workload))
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"proxy": 3128, "admin": 2000}
    probe = {key: container[key]["httpGet"] for key in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert probe["livenessProbe"] == {"path": "/livez", "port": "admin"}
    assert probe["readinessProbe"] == {"path": "/readyz", "port": "admin"}
    assert probe["startupProbe"] == {"path": "/livez", "port": "admin"}
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "100Mi"},
                                      "limits": {"cpu": "500m", "memory": "500Mi"}}
    # The default drain of 30 s must fit, or kubelet cuts tunnels that are finishing.
    assert pod_of(workload)["terminationGracePeriodSeconds"] > 30


@pytest.mark.parametrize("folder", ["base", "overlays/proxy-only"])
def test_configurations_fit_the_manifest(render, folder):
    for name, text in configurations(render(folder)).items():
        config = yaml.safe_load(text)
        assert config["admin"]["bind"] == "[::]:2000", name
        assert [listener["bind"] for listener in config["proxy"]["listeners"]] == ["[::]:3128"], name
        assert config["proxy"]["clients"] == [PODS], name
        assert config["state_dir"] == "/var/lib/oceanid" and config["run_dir"] == "/run/oceanid", name


def test_node_configurations_agree_with_each_other(base):
    configs = {node: yaml.safe_load(configurations(base)[f"{node}.yaml"]) for node in NODES}
    keys = {}
    for node, config in configs.items():
        for peer in config["tunnel"]["peers"]:
            other = configs[peer["name"]]
            assert peer["address"] == other["tunnel"]["address"], (node, peer["name"])
            assert peer["networks"] == other["routing"]["sources"], (node, peer["name"])
            assert keys.setdefault(peer["name"], peer["public_key"]) == peer["public_key"]
            assert node in [p["name"] for p in other["tunnel"]["peers"]], "a tunnel has two ends"
        for exit_ in config["exits"]:
            owner = configs[exit_.get("peer", node)]
            assert exit_["address"] == owner["serve_exit"]["address"], (node, exit_["name"])
    assert len(set(keys.values())) == len(NODES)


@pytest.mark.parametrize("folder", ["base", "overlays/proxy-only"])
def test_oceanid_check_accepts_every_configuration(render, folder, oceanid, tmp_path):
    for name, text in configurations(render(folder)).items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        result = subprocess.run([oceanid, "check", "-c", str(path)], capture_output=True, text=True,
                                timeout=30, check=False)
        assert result.returncode == 0, f"{folder} {name}: {result.stdout}{result.stderr}"


def test_service_keeps_pods_on_their_node(base):
    service = base[("Service", "egress-gateway")]["spec"]
    assert service["internalTrafficPolicy"] == "Local"
    assert service["ports"] == [{"name": "proxy", "port": 3128, "targetPort": "proxy", "protocol": "TCP"}]
    labels = base[("DaemonSet", "oceanid")]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


def test_proxy_only_service_reaches_the_one_pod_from_every_node(proxy_only):
    service = proxy_only[("Service", "egress-gateway")]["spec"]
    assert service["internalTrafficPolicy"] == "Cluster"
    labels = proxy_only[("Deployment", "oceanid")]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


@pytest.mark.parametrize("folder", ["base", "overlays/proxy-only"])
def test_gateway_has_no_access_to_the_api(render, folder):
    objects = render(folder)
    (workload,) = workloads(objects)
    assert pod_of(workload)["automountServiceAccountToken"] is False
    assert pod_of(workload)["serviceAccountName"] == "oceanid"
    assert objects[("ServiceAccount", "oceanid")]["automountServiceAccountToken"] is False
    for (kind, _), item in objects.items():
        assert kind not in ("ClusterRole", "ClusterRoleBinding")
        for subject in item.get("subjects", []):
            assert subject["name"] != "oceanid" and subject["kind"] == "ServiceAccount"
        for rule in item.get("rules", []):
            assert set(rule["verbs"]) <= {"get", "list", "watch"} and "secrets" not in rule["resources"]


def test_both_kinds_share_one_rbac(root):
    """A kustomization must not read files outside its folder, so there are two copies."""
    folder = root / "deploy/kubernetes"
    assert (folder / "base/rbac.yaml").read_bytes() == (folder / "overlays/proxy-only/rbac.yaml").read_bytes()


def test_secret_is_shipped_empty(base):
    secret = base[("Secret", "oceanid-secrets")]
    assert not secret.get("data") and not secret.get("stringData")


def test_namespace_labels_say_what_is_admitted(base, proxy_only):
    label = "pod-security.kubernetes.io/enforce"
    assert base[("Namespace", "egress-system")]["metadata"]["labels"][label] == "privileged"
    assert proxy_only[("Namespace", "egress-system")]["metadata"]["labels"][label] == "restricted"


def restricted_violations(pod):
    """What the Pod Security level `restricted` forbids, rule by rule of its specification."""
    found = []
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            found.append(key)
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
               "secret"}
    for volume in pod.get("volumes", []):
        found += [f"volume {volume['name']}: {kind}" for kind in set(volume) - {"name"} - allowed]
    pod_security = pod.get("securityContext", {})
    for container in pod["containers"] + pod.get("initContainers", []):
        security = container.get("securityContext", {})
        merged = {**pod_security, **security}
        capabilities = security.get("capabilities", {})
        if security.get("privileged"):
            found.append("privileged")
        if security.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation")
        if merged.get("runAsNonRoot") is not True or merged.get("runAsUser") == 0:
            found.append("runs as root")
        if merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append("seccompProfile")
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities")
        if security.get("procMount", "Default") != "Default":
            found.append("procMount")
        if any(port.get("hostPort") for port in container.get("ports", [])):
            found.append("hostPort")
    if pod_security.get("sysctls") or "seLinuxOptions" in pod_security:
        found.append("sysctls or SELinux options")
    return found


def test_proxy_only_is_admitted_under_restricted(proxy_only):
    assert [kind for kind, _ in sorted(proxy_only)] == [
        "ConfigMap", "Deployment", "Namespace", "NetworkPolicy", "NetworkPolicy", "Role", "RoleBinding", "Service",
        "ServiceAccount"]
    workload = proxy_only[("Deployment", "oceanid")]
    assert workload["spec"]["replicas"] == 1
    assert restricted_violations(pod_of(workload)) == []
    container = only_container(pod_of(workload))
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_rules_of_restricted_are_not_blind(base):
    """The same rules find what base needs, so an empty list above means something."""
    found = restricted_violations(pod_of(base[("DaemonSet", "oceanid")]))
    assert {"hostNetwork", "capabilities", "runs as root", "volume tun: hostPath"} <= set(found)


@pytest.mark.parametrize("folder", ["base", "overlays/proxy-only"])
def test_nothing_else_in_the_namespace_reaches_anybody(render, folder):
    spec = render(folder)[("NetworkPolicy", "deny-all")]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_proxy_only_admits_labelled_namespaces_and_the_monitor(proxy_only):
    spec = proxy_only[("NetworkPolicy", "egress-gateway")]["spec"]
    admitted = [(rule["from"][0]["namespaceSelector"]["matchLabels"], [p["port"] for p in rule["ports"]])
                for rule in spec["ingress"]]
    assert admitted == [({"egress.oceanid/client": "true"}, [3128]),
                        ({"kubernetes.io/metadata.name": "monitoring"}, [2000])]
    world = spec["egress"][-1]["to"][0]["ipBlock"]
    assert "169.254.0.0/16" in world["except"] and "10.0.0.0/8" in world["except"]


def test_client_namespace_leaves_by_the_gateway_only(render):
    policy = render("client-namespace")[("NetworkPolicy", "egress-only-through-gateway")]["spec"]
    assert policy["podSelector"] == {} and policy["policyTypes"] == ["Egress"]
    ports = sorted({(p["port"], p["protocol"]) for rule in policy["egress"] for p in rule["ports"]})
    assert ports == [(53, "TCP"), (53, "UDP"), (3128, "TCP")]
    assert all(rule.get("to") and rule.get("ports") for rule in policy["egress"])  # an empty one means "all"
    blocks = [t["ipBlock"]["cidr"] for rule in policy["egress"] for t in rule["to"] if "ipBlock" in t]
    assert "0.0.0.0/0" not in blocks and "::/0" not in blocks


def test_startup_taint_holds_waits_and_releases(render, base):
    objects = render("startup-taint")
    workload = objects[("DaemonSet", "oceanid-taint")]
    pod = pod_of(workload)
    assert {"operator": "Exists"} in pod["tolerations"] and {"operator": "Exists"} in pod_of(base[("DaemonSet", "oceanid")])["tolerations"]
    hold, wait, release = pod["initContainers"]
    taint = "egress.oceanid/not-ready"
    assert hold["args"] == ["taint", "node", "$(NODE_NAME)", f"{taint}=:NoSchedule", "--overwrite"]
    assert release["args"] == ["taint", "node", "$(NODE_NAME)", f"{taint}:NoSchedule-"]
    labels = base[("DaemonSet", "oceanid")]["spec"]["template"]["metadata"]["labels"]
    selector = wait["args"][wait["args"].index("-l") + 1].split("=", 1)
    assert labels[selector[0]] == selector[1]
    assert "spec.nodeName=$(NODE_NAME)" in wait["args"] and "--for=condition=Ready" in wait["args"]
    for container in pod["initContainers"] + pod["containers"]:
        security = container["securityContext"]
        assert security["runAsNonRoot"] and security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
    assert workload["metadata"]["namespace"] == base[("Namespace", "egress-system")]["metadata"]["name"]


def test_startup_taint_may_do_no_more(render):
    objects = render("startup-taint")
    assert objects[("ClusterRole", "oceanid-taint")]["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}]
    assert objects[("Role", "oceanid-taint")]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        assert [s["name"] for s in objects[(kind, "oceanid-taint")]["subjects"]] == ["oceanid-taint"]
