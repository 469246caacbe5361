"""Programs as people use them, unchanged, from a pod through HTTPS_PROXY."""
import pytest

from conftest import PROXY

EXIT = "203.0.113.10"
PSQL = "host=egress-gateway.egress-system port=5432 dbname=warehouse user=warehouse sslmode=require"

REQUESTS = "import requests; print(requests.get('https://ip.example.test/', timeout=10).text.strip())"
NODE_AGENT = """
const https = require('https');
const { HttpsProxyAgent } = require('https-proxy-agent');
const agent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
https.get('https://ip.example.test/', { agent }, r => {
  let text = ''; r.on('data', d => text += d); r.on('end', () => console.log(text.trim()));
}).on('error', e => { console.error(e.message); process.exit(1); });
"""
NODE_FETCH = """
const { fetch, ProxyAgent } = require('undici');
fetch('https://ip.example.test/', { dispatcher: new ProxyAgent(process.env.HTTPS_PROXY) })
  .then(r => r.text()).then(t => console.log(t.trim()))
  .catch(e => { console.error(e, e.cause); process.exit(1); });
"""


def with_proxy(lab, *words, timeout=60):
    environment = [f"{name}={PROXY}" for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")]
    return lab.exec("pod-styx-1", "env", *environment, *words, timeout=timeout).stdout.strip()


def test_curl(lab):
    assert with_proxy(lab, "curl", "-sS", "-m", "10", "https://ip.example.test/") == EXIT


def test_curl_over_http2_and_kept_connections(lab):
    urls = ["https://ip.example.test/"] * 5
    assert with_proxy(lab, "curl", "-sS", "-m", "10", *urls).split() == [EXIT] * 5


def test_wget(lab):
    ca = lab.env()["LAB_CA"]
    assert with_proxy(lab, "wget", "-q", "-O-", "-T", "10", f"--ca-certificate={ca}", "https://ip.example.test/") == EXIT


def test_python_requests(lab):
    assert with_proxy(lab, "/usr/bin/python3", "-c", REQUESTS) == EXIT


def test_node_https_through_its_proxy_agent(lab):
    out = with_proxy(lab, "env", "NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs", "node", "-e", NODE_AGENT)
    assert out == EXIT


def test_node_fetch_through_its_proxy_agent(lab):
    assert with_proxy(lab, "env", "NODE_PATH=/usr/share/nodejs", "node", "-e", NODE_FETCH) == EXIT


def test_git_over_https(lab, tmp_path):
    with_proxy(lab, "git", "clone", "-q", "https://www.example.test/repo.git", str(tmp_path / "clone"))
    assert (tmp_path / "clone" / ".git").is_dir()
    assert with_proxy(lab, "git", "-C", str(tmp_path / "clone"), "log", "--oneline")


def test_psql_and_pgbench_through_the_forward(lab):
    assert lab.exec("pod-styx-1", "psql", PSQL, "-Atc", "select inet_client_addr()").stdout.strip() == EXIT
    found = sorted(__import__("glob").glob("/usr/lib/postgresql/*/bin/pgbench"))
    assert found, "pgbench belongs to the postgresql package"
    lab.exec("pod-styx-1", found[-1], "-i", "-q", PSQL, timeout=120)
    out = lab.exec("pod-styx-1", found[-1], "-c", "4", "-t", "50", PSQL, timeout=120).stdout
    assert "number of transactions actually processed: 200/200" in out


@pytest.mark.parametrize("target, code, error", [
    ("https://169.254.169.254/", 403, "destination_ip_prohibited"),
    ("https://metadata.example.test/", 403, "destination_ip_prohibited"),
    ("https://nothing.example.test/", 502, "dns_error"),
    ("https://www.example.test:444/", 403, "http_request_denied"),
])
def test_a_refusal_names_its_reason(lab, target, code, error):
    result = lab.curl("pod-styx-1", target, "-v", proxy=PROXY, check=False)
    assert f"HTTP/1.1 {code}" in result.stderr
    assert "proxy-status: oceanid" in result.stderr.lower()
    assert error in result.stderr
