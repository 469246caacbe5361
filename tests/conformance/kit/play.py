"""Plays one case: the client's end, the origins' end and what is expected of the proxy between them.

Steps run in order on one thread. Nothing waits for a fixed time: a connection that a proxy opened rests in the origin's
backlog until the case accepts it.
"""
import base64
import re
import select
import socket
import ssl
import time

from .ambiguity import NOBODY, QUIET, AmbiguitySteps
from .corpus import Malformed, Text, row_variables
from .wire import PATIENCE, End, Failed, read_message, short as _short


class Player(AmbiguitySteps):
    def __init__(self, case, world, doors, strict=True):
        self.must_close = strict or case.group == "RFC 9931"
        self.case = case
        self.world = world    # servers and certificates shared by all cases
        self.doors = doors    # "profile.listener" -> (host, port)
        self.open = []
        self.clients = {}
        self.client = None
        self.origin = None
        self.message = None
        self.request = None
        self.last_sent = b""
        self.mark = time.monotonic()
        self.origins = [self._listen("127.0.0.1")]
        self.variables = {name: text.fill(self._variables()) for name, text in row_variables(case).items()}
        self.variables.update(self._variables())

    # -- what a case can name

    def _listen(self, host):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, 0))
        sock.listen(16)
        self.open.append(sock)
        return sock

    def _variables(self):
        port = self.origins[0].getsockname()[1]
        values = {
            "origin": f"127.0.0.1:{port}", "port": port, "port16": port.to_bytes(2, "big"),
            "dead": self._dead, "deadport16": lambda: int(self._dead().split(":")[1]).to_bytes(2, "big"),
            "blackhole": self.world.blackhole,
            "blackholeport16": lambda: int(self.world.blackhole().split(":")[1]).to_bytes(2, "big"), "self": self._self, "selfport": lambda: self._self().split(":")[1],
            "basic": base64.b64encode(b"ls:opensesame"), "basic-second": base64.b64encode(b"cat:se:cret"),
            "basic-wrong": base64.b64encode(b"ls:wrong"), "basic-unknown": base64.b64encode(b"nobody:opensesame"),
            "basic-nocolon": base64.b64encode(b"ls"), "basic-empty": base64.b64encode(b":"),
        }
        return values

    def _dead(self):
        """An address that refuses: bound, so that nobody else gets it, but not listening."""
        if not hasattr(self, "dead_socket"):
            self.dead_socket = socket.socket()
            self.dead_socket.bind(("127.0.0.1", 0))
            self.open.append(self.dead_socket)
        return f"127.0.0.1:{self.dead_socket.getsockname()[1]}"

    def _self(self):
        host, port = self.doors[self.case.listener]
        return f"{host}:{port}"

    def text(self, argument):
        return argument.fill(self.variables) if isinstance(argument, Text) else argument.encode()

    # -- running

    def play(self):
        try:
            self.connect(self.case.listener)
            self.mark = time.monotonic()
            for step in self.case.steps:
                action = getattr(self, "do_" + step.word.replace("-", "_"), None)
                if action is None:
                    raise Malformed(f"{step.place}: unknown step {step.word}")
                try:
                    action(*step.arguments)
                except Failed as error:
                    raise Failed(f"{step.place} {step.word}: {error}") from error
                except TypeError as error:
                    raise Malformed(f"{step.place}: {step.word}: {error}") from error
        finally:
            for item in self.open:
                item.close()

    def connect(self, listener, name="first"):
        try:
            self.client = End(socket.create_connection(self.doors[listener], PATIENCE), "client")
        except ConnectionResetError:  # refused so early that connect() itself reports it
            self.client = End(socket.socket(), "client")
            self.client.ended = "reset"
        self.clients[name] = self.client
        self.open.append(self.client)

    # -- the client's steps

    def do_connection(self, name, listener=None):
        if name in self.clients:
            self.client = self.clients[name]
        else:
            self.connect(listener or self.case.listener, name)

    def do_send(self, *texts):
        data = b"".join(self.text(text) for text in texts)
        self.last_sent = data
        self.client.send(data)

    def do_send_slowly(self, piece, *texts):
        data = b"".join(self.text(text) for text in texts)
        self.last_sent = data
        closed = select.poll()
        closed.register(self.client.socket, select.POLLRDHUP)
        for at in range(0, len(data), int(piece)):
            if closed.poll(0):
                return  # that was the answer: what would follow is nobody's, and takes time that is measured
            self.client.send(data[at:at + int(piece)])
            time.sleep(0.001)  # a segment of its own; the result must not depend on it

    def do_shutdown(self):
        try:
            self.client.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the proxy has reset it: the next expectation fails or allows that

    def do_reset(self):
        self.client.reset()

    def do_close(self):
        self.client.close()

    def do_answer(self, wanted, *how):
        """how: `head` (no body follows), `close` (the body ends with the connection)."""
        while True:
            message = read_message(self.client, "head" not in how, to_close="close" in how)
            if 100 <= message.status < 200 and message.status != 101 and not wanted.startswith("1"):
                continue
            break
        self.message = message
        if not any(_fits(message.status, one) for one in wanted.split(",")):
            raise Failed(f"{message.start!r}, expected {wanted}")

    def do_tunnel(self):
        """A 2xx answer to CONNECT, without content (RFC 9110 section 9.3.6)."""
        self.do_answer("2xx", "head")
        if self.message.values("content-length") or self.message.values("transfer-encoding"):
            raise Failed("a 2xx answer to CONNECT has Content-Length or Transfer-Encoding")

    def do_refused(self, wanted, *also):
        """An error answer; then the connection is closed and nothing more is said (RFC 9931).

        Of a proxy that does not declare itself strict the end is expected in the group `RFC 9931` alone, so that one
        habit does not count against it in every group.
        """
        self.do_answer(wanted)
        if self.must_close:
            self.client.expect_end()

    def do_rejected(self, *also):
        """As `refused 4xx,5xx`, or closed without a word."""
        deadline = time.monotonic() + PATIENCE
        if not self.client.buffer and not self.client.more(deadline):
            return
        self.do_refused("400,403,404,405,411,413,414,417,431,5xx")

    def do_timed_out(self, least, most):
        """Within that time: 408 and the end, or the end alone."""
        deadline = time.monotonic() + PATIENCE
        if self.client.buffer or self.client.more(deadline):
            self.do_refused("408")
        self.do_elapsed(least, most)

    def do_header(self, name, verb, *texts):
        _check_field(self.message, name, verb, [self.text(text).decode("latin-1") for text in texts])

    def do_body(self, verb, *texts):
        _check_bytes(self.message.body, verb, b"".join(self.text(text) for text in texts))

    def do_receive(self, *texts):
        wanted = b"".join(self.text(text) for text in texts)
        got = self.client.take(len(wanted))
        if got != wanted:
            raise Failed(f"received {_short(got)}, expected {_short(wanted)}")

    def do_closed(self, how=None):
        self.client.expect_end(how)

    def do_quiet(self):
        if not self.client.is_quiet(QUIET):
            raise Failed("something came, nothing was expected")

    def do_socks_reply(self, wanted):
        head = self.client.take(4)
        if head[0] != 5 or head[2] != 0:
            raise Failed(f"not a SOCKS5 reply: {head!r}")
        size = {1: 4, 4: 16}.get(head[3])
        if size is None:
            size = self.client.take(1)[0]
        self.client.take(size + 2)
        if head[1] not in [int(one) for one in wanted.split(",")]:
            raise Failed(f"reply {head[1]}, expected {wanted}")

    def do_mark(self):
        self.mark = time.monotonic()

    def do_elapsed(self, least, most):
        passed = time.monotonic() - self.mark
        if not float(least) <= passed <= float(most):
            raise Failed(f"after {passed:.2f} s, expected {least} to {most} s")

    def do_tls(self, *options):
        context = self.world.certificates.client_context(options)
        try:
            self.client.socket.settimeout(PATIENCE)
            self.client.socket = context.wrap_socket(self.client.socket, server_hostname="localhost")
        except (ssl.SSLError, OSError) as error:
            raise Failed(f"TLS: {error}") from error

    def do_close_notify(self):
        """The end of our direction alone; unwrap() would wait for the other's end as well, and fails over data that waits to be read."""
        sock = self.client.socket
        sock.setblocking(False)
        try:
            sock.unwrap()
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, OSError) as error:
            raise Failed(f"TLS: {error}") from error
        finally:
            sock.settimeout(PATIENCE)

    def do_tls_refused(self, *options):
        """With TLS 1.3 a client learns only from its first read that its certificate was not taken."""
        context = self.world.certificates.client_context(options)
        try:
            self.client.socket.settimeout(PATIENCE)
            sock = context.wrap_socket(self.client.socket, server_hostname="localhost")
            sock.sendall(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n")
            said = sock.recv(64)
        except TimeoutError as error:
            raise Failed("TLS: neither refused nor accepted") from error
        except (ssl.SSLError, OSError):
            return
        if said:
            raise Failed(f"TLS: accepted, it said {said!r}")

    def do_tls_row(self):
        self.do_tls(self.case.row[1])

    def do_tls_row_refused(self):
        self.do_tls_refused(self.case.row[1])

    def do_not_a_tunnel(self):
        """The connection ends, whatever is said before, but not with success."""
        said = self.client.take_all()
        if re.match(rb"HTTP/1\.\d 2", said):
            raise Failed(f"it was taken for a request: {_short(said)}")

    def do_not_a_socks_tunnel(self):
        said = self.client.take_all()
        if said[:2] == b"\x05\x00":
            raise Failed(f"it was taken for a request: {_short(said)}")

    def do_socks_denied(self):
        said = self.client.take_all()
        if len(said) != 2 or said[0] != 1 or said[1] == 0:
            raise Failed(f"received {_short(said)}")

    def do_not_a_success(self):
        """RFC 1929: whatever is said before the end, not status 0."""
        said = self.client.take_all()
        if said[1:2] == b"\x00":
            raise Failed(f"received {_short(said)}")

    def do_timed_out_silently(self, least, most):
        self.client.take_all()
        self.do_elapsed(least, most)

    def do_trailer(self, *texts):
        wanted = b"".join(self.text(text) for text in texts).decode("latin-1").lower()
        if wanted not in [line.lower() for line in self.message.trailers]:
            raise Failed(f"trailers {self.message.trailers}")

    # -- the origin's steps

    def do_origin(self, what, *arguments):
        action = getattr(self, "origin_" + what.replace("-", "_"), None)
        if action is None:
            raise Malformed(f"unknown step origin {what}")
        action(*arguments)

    def origin_accept(self):
        self.origins[0].settimeout(PATIENCE)
        try:
            sock, _ = self.origins[0].accept()
        except TimeoutError as error:
            raise Failed("the origin was not connected") from error
        self.origin = End(sock, "origin")
        self.open.append(self.origin)

    def origin_none(self):
        self.origins[0].settimeout(NOBODY)
        try:
            sock, _ = self.origins[0].accept()
        except TimeoutError:
            return
        sock.close()
        raise Failed("a connection reached the origin")

    def origin_request(self, *start):
        self.request = read_message(self.origin)
        if start and self.request.start.encode() != b"".join(self.text(text) for text in start):
            raise Failed(f"the origin was asked {self.request.start!r}")

    def origin_head(self, *start):
        self.request = read_message(self.origin, has_body=False)

    def origin_header(self, name, verb, *texts):
        _check_field(self.request, name, verb, [self.text(text).decode("latin-1") for text in texts])

    def origin_body(self, verb, *texts):
        _check_bytes(self.request.body, verb, b"".join(self.text(text) for text in texts))

    def origin_trailer(self, *texts):
        wanted = b"".join(self.text(text) for text in texts).decode("latin-1").lower()
        if wanted not in [line.lower() for line in self.request.trailers]:
            raise Failed(f"trailers {self.request.trailers}")

    def origin_send(self, *texts):
        self.origin.send(b"".join(self.text(text) for text in texts))

    def origin_ok(self, *texts):
        body = b"".join(self.text(text) for text in texts)
        self.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def origin_receive(self, *texts):
        wanted = b"".join(self.text(text) for text in texts)
        got = self.origin.take(len(wanted))
        if got != wanted:
            raise Failed(f"the origin received {_short(got)}, expected {_short(wanted)}")

    def origin_closed(self, how=None):
        self.origin.expect_end(how)

    def origin_quiet(self):
        if not self.origin.is_quiet(QUIET):
            raise Failed("something came to the origin, nothing was expected")

    def origin_shutdown(self):
        self.origin.socket.shutdown(socket.SHUT_WR)

    def origin_close(self):
        self.origin.close()

    def origin_reset(self):
        self.origin.reset()


def _fits(status, wanted):
    return str(status) == wanted or (wanted.endswith("xx") and str(status)[0] == wanted[0])


def _check_bytes(body, verb, wanted):
    good = {"is": body == wanted, "contains": wanted in body, "matches": bool(re.search(wanted, body))}
    if verb not in good:
        raise Malformed(f"unknown verb {verb}")
    if not good[verb]:
        raise Failed(f"the body is {_short(body)}")


def _check_field(message, name, verb, texts):
    values = message.values(name)
    wanted = "".join(texts)
    joined = ", ".join(values)
    checks = {
        "present": lambda: bool(values),
        "absent": lambda: not values,
        "once": lambda: len(values) == 1,
        "is": lambda: values == [wanted],
        "contains": lambda: wanted.lower() in joined.lower(),
        "lacks": lambda: wanted.lower() not in joined.lower(),
        "matches": lambda: bool(re.search(wanted, joined)),
    }
    if verb not in checks:
        raise Malformed(f"unknown verb {verb}")
    if not checks[verb]():
        raise Failed(f"{name} is {values}, expected: {verb} {wanted}".rstrip())
