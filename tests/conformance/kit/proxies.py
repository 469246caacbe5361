"""The proxies that the corpus is run against, each profile a program of its own with a configuration of its own."""
import os
import pwd
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../bench"))
from runner.peers import Unavailable, free_port, _find, _first_line, _write  # noqa: E402

PATIENCE = 20.0
HASH = subprocess.run(["openssl", "passwd", "-6", "-salt", "conformance", "-stdin"], input="opensesame\nse:cret\n",
                      text=True, capture_output=True, check=True).stdout.split()
USERS = f"ls:{HASH[0]}\ncat:{HASH[1]}\n"

# What a proxy gets where a profile asks it to guard: the special-purpose registries as far as its own words reach.
SPECIAL = ("0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
           "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
           "::/128 ::1/128 64:ff9b::/96 100::/64 2001::/23 2001:db8::/32 2002::/16 fc00::/7 fe80::/10 ff00::/8").split()


class Given:
    """A proxy that runs already: the caller says where, and what it can."""

    def __init__(self, doors, capabilities):
        self.name = "given"
        self.doors = doors
        self.capabilities = set(capabilities)

    def version(self):
        return "at the given address"

    def start(self, workspace, world, profile):
        return {name: address for name, address in self.doors.items() if name.startswith(profile + ".")}


class Oceanid:
    name = "oceanid"
    capabilities = {"connect", "forward", "proxy-status", "reasons", "tls", "mtls", "socks5", "proxy-protocol", "auth",
                    "policy", "guard", "names", "timers", "limits", "own-head-limit", "strict"}

    def __init__(self, program):
        self.program = os.path.abspath(program)
        if not os.access(self.program, os.X_OK):
            raise Unavailable(f"{self.program} is missing: build it, or name another with --oceanid")

    def version(self):
        return _first_line([self.program, "--version"])

    def declare(self, doors):
        """What this version says of itself: without plain forwarding it answers a GET in so many words."""
        import socket
        with socket.create_connection(doors["plain.http"], PATIENCE) as client:
            client.settimeout(PATIENCE)
            client.sendall(b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n")
            said = b""
            while piece := client.recv(4096):
                said += piece
                if said.startswith(b"HTTP/1.1 5") and b"\r\n\r\n" in said:
                    break
        if b"forwarding is not in this version" in said:
            self.capabilities = self.capabilities - {"forward"}

    def _profile(self, world, profile, doors):
        c = world.certificates
        tls = f"certificate: {c.path('server.pem')}, key: {c.path('server.key')}"
        listeners = {"http": ""}
        extra = "  guard: { allow: [127.0.0.0/8, 127.0.0.1, \"::1\"] }\n"
        if profile == "plain":
            listeners["socks"] = ", protocol: socks5"
        elif profile == "header":
            listeners = {"http": ", proxy_protocol: true, trusted: [127.0.0.0/8]",
                         "stranger": ", proxy_protocol: true, trusted: [192.0.2.1]"}
            extra += "  clients: [192.0.2.0/24, \"2001:db8::/32\", 127.0.0.0/8]\n"
        elif profile == "tls":
            listeners = {"http": f", tls: {{ {tls} }}",
                         "client": f", tls: {{ {tls}, client_ca: {c.path('ca.pem')}, crl: {c.path('crl.pem')} }}"}
        elif profile == "timers":
            extra += "  timeouts: { head: 1s, connect: 1s, attempt: 250ms, idle: 2s, fin: 1s, drain: 1s }\n"
            listeners["socks"] = ", protocol: socks5"
        elif profile == "auth":
            extra += "  users_file: users\n"
            listeners["socks"] = ", protocol: socks5"
        elif profile == "guarded":
            extra = ""
            listeners["socks"] = ", protocol: socks5"
        elif profile == "ports":
            extra += "  connect_ports: [443]\n"
        elif profile == "limits":
            extra += "  limits: { tunnels: 2, per_client: 1 }\n"
        elif profile == "small":
            extra += "  limits: { head_bytes: 4096, head_fields: 20 }\n"
        elif profile == "strangers":
            extra += "  clients: [192.0.2.0/24]\n"
        elif profile == "policy":
            extra += ("  policy:\n    default: deny\n    roles:\n      - name: known\n"
                      "        match: { sources: [127.0.0.0/8] }\n        action: enforce\n"
                      "        allow: [\"*.allowed.test\", good.test, xn--bcher-kva.test]\n"
                      "        deny: [denied.allowed.test]\n")
        if profile != "ports":
            extra += "  connect_ports: []\n"
        if "clients:" not in extra:
            extra += "  clients: [127.0.0.0/8]\n"
        if "timeouts:" not in extra:
            extra += "  timeouts: { drain: 1s }\n"
        lines = ""
        for name, rest in listeners.items():
            doors[f"{profile}.{name}"] = ("127.0.0.1", free_port())
            lines += f"    - {{ bind: \"127.0.0.1:{doors[f'{profile}.{name}'][1]}\"{rest} }}\n"
        host, port = world.names.address
        return f"  listeners:\n{lines}{extra}  dns: {{ servers: [\"{host}:{port}\"], timeout: 2s }}\n"

    def start(self, workspace, world, profile):
        doors = {}
        folder = workspace.folder(f"oceanid-{profile}")
        _write(folder, "users", USERS)
        config = _write(folder, "oceanid.yaml", f"node: conformance\nstate_dir: {folder}/state\nrun_dir: {folder}/run\n"
                        f"log: {{ level: info, format: json, access: true }}\nadmin: {{ bind: \"127.0.0.1:{free_port()}\" }}\n"
                        f"proxy:\n  workers: 1\n" + self._profile(world, profile, doors).replace(
                            "users_file: users", f"users_file: {folder}/users"))
        program = workspace.start(f"oceanid-{profile}", [self.program, "run", "-c", config], cwd=folder)
        _wait_until_open(program, doors)
        return doors


class Squid:
    name = "squid"
    # The Debian package is built without OpenSSL and gives no way to check a client's certificate against a CRL; SOCKS5,
    # Proxy-Status and per-client tunnel limits are not in Squid.
    capabilities = {"connect", "forward", "tls", "proxy-protocol", "auth", "policy", "guard", "timers", "own-head-limit"}

    def __init__(self):
        self.program = _find("squid", "squid")

    def version(self):
        return _first_line([self.program, "-v"])

    def start(self, workspace, world, profile):
        c = world.certificates
        if world.names.on_port_53:
            self.capabilities = self.capabilities | {"names"}
        doors = {f"{profile}.http": ("127.0.0.1", free_port())}
        port = doors[f"{profile}.http"][1]
        folder = workspace.folder(f"squid-{profile}")
        if os.geteuid() == 0:
            account = pwd.getpwnam("proxy")
            os.chown(folder, account.pw_uid, account.pw_gid)
        line, access = f"http_port 127.0.0.1:{port}", "http_access allow all"
        if profile == "tls":
            line = f"https_port 127.0.0.1:{port} tls-cert={c.path('server.pem')} tls-key={c.path('server.key')}"
        elif profile == "header":
            doors["header.stranger"] = ("127.0.0.1", free_port())
            line = f"http_port 127.0.0.1:{port} require-proxy-header\nproxy_protocol_access allow all"
            line += f"\nhttp_port 127.0.0.1:{doors['header.stranger'][1]} require-proxy-header name=stranger"
            line = line.replace("access allow all", "access deny stranger_port\nproxy_protocol_access allow all")
            line = "acl stranger_port myportname stranger\n" + line
            access = "acl known src 192.0.2.0/24 2001:db8::/32 127.0.0.0/8\nhttp_access allow known\nhttp_access deny all"
        elif profile == "timers":
            line += ("\nrequest_timeout 1 second\nrequest_start_timeout 1 second\nconnect_timeout 1 second\n"
                     "forward_timeout 2 seconds\nread_timeout 2 seconds\nwrite_timeout 2 seconds\nclient_idle_pconn_timeout 2 seconds")
        elif profile == "auth":
            _write(folder, "users", USERS)
            access = (f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/users\n"
                      "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all")
        elif profile == "guarded":
            access = f"acl special dst {' '.join(SPECIAL)}\nhttp_access deny special\nhttp_access allow all"
        elif profile == "ports":
            access = "acl good port 443\nacl CONNECT method CONNECT\nhttp_access deny CONNECT !good\nhttp_access allow all"
        elif profile == "policy":
            access = ("acl no dstdomain denied.allowed.test\nacl yes dstdomain .allowed.test good.test xn--bcher-kva.test\n"
                      "acl apex dstdomain -n allowed.test\n"
                      "http_access deny no\nhttp_access allow yes\nhttp_access deny all").replace("acl apex dstdomain -n allowed.test\n", "")
        elif profile == "small":
            line += "\nrequest_header_max_size 4 KB"
        elif profile == "strangers":
            access = "acl known src 192.0.2.0/24\nhttp_access allow known\nhttp_access deny all"
        host = world.names.address[0] if world.names.on_port_53 else "127.0.0.1"
        config = _write(folder, "squid.conf", f"{line}\nvisible_hostname conformance.invalid\n{access}\ncache deny all\n"
                        f"access_log none\ncache_log {folder}/cache.log\ncache_store_log none\ncoredump_dir {folder}\n"
                        f"pid_filename none\npinger_enable off\nclient_db off\nshutdown_lifetime 0 seconds\n"
                        f"dns_nameservers {host}\ndns_timeout 2 seconds\nnegative_ttl 0 seconds\nnegative_dns_ttl 1 second\n")
        program = workspace.start(f"squid-{profile}", [self.program, "-N", "-f", config], cwd=folder)
        _wait_until_open(program, doors)
        return doors


class Tinyproxy:
    name = "tinyproxy"
    # It asks the host's resolver, has one timer for everything, and no TLS, SOCKS5, PROXY protocol or address guard.
    capabilities = {"connect", "forward", "auth", "timers"}

    def __init__(self):
        self.program = _find("tinyproxy", "tinyproxy-bin")

    def version(self):
        return _first_line([self.program, "-v"])

    def start(self, workspace, world, profile):
        doors = {f"{profile}.http": ("127.0.0.1", free_port())}
        folder = workspace.folder(f"tinyproxy-{profile}")
        extra = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
        extra += f"Timeout {1 if profile == 'timers' else 600}\n"
        if profile == "auth":
            extra += "BasicAuth ls opensesame\n"  # its words hold letters and digits only: `cat` cannot be written
        if profile == "ports":
            extra += "ConnectPort 443\n"
        if profile == "strangers":
            extra += "Allow 192.0.2.0/24\n"
        config = _write(folder, "tinyproxy.conf", f"{extra}Listen 127.0.0.1\nPort {doors[f'{profile}.http'][1]}\n"
                        "MaxClients 200\nLogLevel Critical\n")
        program = workspace.start(f"tinyproxy-{profile}", [self.program, "-d", "-c", config], cwd=folder)
        _wait_until_open(program, doors)
        return doors


def _wait_until_open(program, doors):
    import socket
    import time
    deadline = time.monotonic() + PATIENCE
    for host, port in doors.values():
        while True:
            if not program.is_alive():
                raise Unavailable(f"{program.name} ended with status {program.process.returncode}\n{program.log_tail()}")
            try:
                socket.create_connection((host, port), 1).close()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{program.name} does not listen: {error}\n{program.log_tail()}") from error
                time.sleep(0.02)
