"""What runs in the pod during bench/failover: clients that begin anew all the time, and connections that stay open.

    failover_clients.py ECHO DATABASE PROXY

One line for each success: kind, when it began, when it was answered, the address seen. tcp, connect and udp send as much
as a pod's packet holds and more, and want it back; postgres goes on to the end of the TLS handshake, whose certificate is
large as well. `open-…` tells that an open connection stands, and that it has ended: idle ones by the routed way, to the
database and by CONNECT. A line on standard input makes new ones of them.
"""
import select
import socket
import ssl
import struct
import sys
import threading
import time

LARGE = b"x" * 3000
DATAGRAM = b"x" * 1180  # the pods of the lab have an MTU of 1230
PACE = 0.02
lock = threading.Lock()
asked = [0]  # how often open connections were to begin anew


def say(kind, began, seen):
    with lock:
        print(kind, began, time.time(), seen, flush=True)


def there_and_back(reader, stream):
    seen = reader.readline().strip().decode()
    stream.sendall(LARGE)
    return seen if reader.read(len(LARGE)) == LARGE else ""


def tcp(echo, *_):
    with socket.create_connection((echo, 7844), 0.3) as s:
        s.settimeout(0.3)
        return there_and_back(s.makefile("rb"), s)


def udp(echo, *_):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        s.connect((echo, 7844))
        s.send(DATAGRAM)
        return s.recv(2000).split()[0].decode()


def tunnel(echo, proxy, patience):
    s = socket.create_connection((proxy, 3128), 0.3)
    s.settimeout(patience)
    s.sendall(f"CONNECT {echo}:7844 HTTP/1.1\r\nHost: {echo}:7844\r\n\r\n".encode())
    reader = s.makefile("rb")
    if b" 200 " not in reader.readline():
        raise OSError("refused")
    while reader.readline().strip():
        pass
    return s, reader


def connect(echo, _, proxy):
    s, reader = tunnel(echo, proxy, 0.5)
    with s:
        return there_and_back(reader, s)


def postgres(_, database, __):
    with socket.create_connection((database, 5432), 0.3) as s:
        s.settimeout(0.3)
        s.sendall(struct.pack("!II", 8, 80877103))  # SSLRequest
        if s.recv(1) != b"S":
            return ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(s):
            return "answer"


def repeat(kind, ask, *where):
    while True:
        began = time.time()
        try:
            if seen := ask(*where):
                say(kind, began, seen)
        except OSError:
            pass
        time.sleep(max(0, PACE - (time.time() - began)))


def idle(echo, *_):
    s = socket.create_connection((echo, 7844), 2)
    return s if s.recv(100) else None


def idle_postgres(_, database, __):
    s = socket.create_connection((database, 5432), 2)
    s.settimeout(2)
    s.sendall(struct.pack("!II", 8, 80877103))
    return s if s.recv(1) == b"S" else None


def idle_connect(echo, _, proxy):
    s, reader = tunnel(echo, proxy, 2)
    return s if reader.readline() else None


def stay(kind, begin, *where):
    """A new connection when it has ended, or when that is asked for."""
    while True:
        try:
            s = begin(*where)
        except OSError:
            s = None
        mine = asked[0]
        say(kind, time.time(), "open" if s else "none")
        while s and asked[0] == mine:
            if select.select([s], [], [], 0.1)[0]:
                try:
                    s.recv(100)
                    say(kind, time.time(), "ended")
                except OSError:
                    say(kind, time.time(), "reset")
                break
        if s:
            s.close()
        time.sleep(0.1)


if __name__ == "__main__":
    where = sys.argv[1:4]
    for kind, ask in (("tcp", tcp), ("udp", udp), ("connect", connect), ("postgres", postgres)):
        threading.Thread(target=repeat, args=(kind, ask, *where), daemon=True).start()
    for kind, begin in (("open-tcp", idle), ("open-postgres", idle_postgres), ("open-connect", idle_connect)):
        threading.Thread(target=stay, args=(kind, begin, *where), daemon=True).start()
    for _ in sys.stdin:
        asked[0] += 1
