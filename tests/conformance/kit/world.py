"""What all cases share: a name server, an address that never answers, certificates, user names."""
import os
import socket
import ssl
import struct
import subprocess
import threading

# Every name that a case uses. A list alternates from question to question (DNS rebinding).
NAMES = {
    b"good.test": ["127.0.0.1"], b"www.allowed.test": ["127.0.0.1"], b"allowed.test": ["127.0.0.1"],
    b"other.test": ["127.0.0.1"], b"wwwallowed.test": ["127.0.0.1"], b"denied.allowed.test": ["127.0.0.1"],
    b"private.test": ["10.1.2.3"], b"metadata.test": ["169.254.169.254"], b"loopback.test": ["127.0.0.1"],
    b"xn--bcher-kva.test": ["127.0.0.1"],
}
DNS_HOSTS = [f"127.77.{number}.53" for number in range(50)]


class NameServer:
    """A records only; AAAA is an empty answer, anything else NXDOMAIN."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for host in DNS_HOSTS:
            try:
                self.socket.bind((host, 53))  # Squid can only be told addresses
                break
            except PermissionError:
                self.socket.bind((host, 0))
                break
            except OSError:
                continue  # another run is there
        self.address = self.socket.getsockname()
        self.on_port_53 = self.address[1] == 53
        self.socket.settimeout(0.1)  # so that the thread sees the end
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.ended.is_set():
            try:
                question, peer = self.socket.recvfrom(4096)
                self.socket.sendto(self._answer(question), peer)
            except (OSError, struct.error, IndexError):
                continue  # nobody asked, or not a question

    @staticmethod
    def _answer(question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]])
            at += 1 + question[at]
        kind = struct.unpack("!H", question[at + 1:at + 3])[0]
        found = NAMES.get(b".".join(labels).lower())
        addresses = found if found and kind == 1 else []
        head = question[:2] + struct.pack("!HHHHH", 0x8580 | (0 if found else 3), 1, len(addresses), 0, 0)
        return head + question[12:at + 5] + b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(address) for address in addresses)

    def close(self):
        self.ended.set()
        self.thread.join()
        self.socket.close()


class Certificates:
    """An authority, a server certificate and three clients' (good, revoked, of another authority)."""

    def __init__(self, folder):
        self.folder = folder
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=conformance ca",
                      "-keyout", "ca.key", "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-addext", "basicConstraints=critical,CA:TRUE")
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=foreign ca",
                      "-keyout", "foreign-ca.key", "-out", "foreign-ca.pem")
        self._issue("server", "ca", "localhost", "subjectAltName=DNS:localhost,DNS:good.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        for name, authority in (("client", "ca"), ("revoked", "ca"), ("foreign", "foreign-ca")):
            self._issue(name, authority, f"{name}.apps", "extendedKeyUsage=clientAuth")
        self._revoke("revoked")
        for name in os.listdir(folder):
            os.chmod(self.path(name), 0o644)  # a proxy that gave up root reads them too

    def path(self, name):
        return os.path.join(self.folder, name)

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def _issue(self, name, authority, subject, extensions):
        with open(self.path(f"{name}.ext"), "w", encoding="ascii") as file:
            file.write(extensions + "\nbasicConstraints=CA:FALSE\n")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}", "-keyout", f"{name}.key",
                      "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
                      "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def _revoke(self, name):
        with open(self.path("ca.cnf"), "w", encoding="ascii") as file:
            file.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\n"
                       "default_crl_days=30\nprivate_key=ca.key\ncertificate=ca.pem\n")
        for file, text in (("index.txt", ""), ("crlnumber", "01\n")):
            with open(self.path(file), "w", encoding="ascii") as output:
                output.write(text)
        self._openssl("ca", "-config", "ca.cnf", "-revoke", f"{name}.pem")
        self._openssl("ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem")

    def client_context(self, options):
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        for option in options:
            key, _, value = option.partition("=")
            if key == "certificate":
                context.load_cert_chain(self.path(f"{value}.pem"), self.path(f"{value}.key"))
            elif key == "version":
                version = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
                context.set_ciphers("DEFAULT:@SECLEVEL=0")
                context.minimum_version = context.maximum_version = version[value]
            elif key == "ciphers":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(value + ":@SECLEVEL=0")
            elif key == "alpn":
                context.set_alpn_protocols(value.split(","))
        return context


class World:
    def __init__(self, workspace):
        self.names = NameServer()
        self.certificates = Certificates(workspace.folder("certificates"))
        self._sink = None

    def blackhole(self):
        """A listener whose backlog is full: the kernel drops the SYN of whoever comes next."""
        if self._sink is None:
            sink = socket.socket()
            sink.bind(("127.0.0.1", 0))
            sink.listen(0)
            self._sink = [sink]
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(sink.getsockname())
                self._sink.append(filler)
        return "127.0.0.1:%d" % self._sink[0].getsockname()[1]

    def close(self):
        self.names.close()
        for sock in self._sink or []:
            sock.close()
