"""One end of a connection with a buffer, and the little HTTP that judging an answer takes."""
import select
import socket
import ssl
import struct
import time

PATIENCE = 4.0  # longer than any timer that a profile configures


class Failed(Exception):
    """The proxy did not do what the case expects."""


def short(data):
    return f"{data[:120]!r}" + (f"… ({len(data)} bytes)" if len(data) > 120 else "")


class End:
    """A connected socket, ours or an origin's; what was read and not yet asked for is kept."""

    def __init__(self, sock, name):
        self.socket = sock
        self.name = name
        self.buffer = b""
        self.ended = None  # None | "closed" | "reset"
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError as error:
            raise Failed(f"{self.name}: sending {len(data)} bytes did not end") from error
        except OSError:
            pass  # closed by the other side meanwhile: what is expected next says whether it may

    def more(self, deadline):
        """One piece into the buffer; False at the end of the stream."""
        if self.ended:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failed(f"{self.name}: nothing more came in time; so far {self.buffer[:300]!r}")
        self.socket.settimeout(left)
        try:
            piece = self.socket.recv(1 << 18)
        except TimeoutError as error:
            raise Failed(f"{self.name}: nothing more came in time; so far {self.buffer[:300]!r}") from error
        except ssl.SSLZeroReturnError:  # how Python reports a close_notify after our own
            piece = b""
        except OSError:
            self.ended = "reset"
            return False
        if not piece:
            self.ended = "closed"
            return False
        self.buffer += piece
        return True

    def take(self, count, deadline=None):
        deadline = deadline or time.monotonic() + PATIENCE
        while len(self.buffer) < count:
            if not self.more(deadline):
                raise Failed(f"{self.name}: {self.ended} after {self.buffer[:300]!r}, {count} bytes were expected")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def take_until(self, mark):
        deadline = time.monotonic() + PATIENCE
        while mark not in self.buffer:
            if not self.more(deadline):
                raise Failed(f"{self.name}: {self.ended} after {self.buffer[:300]!r}")
        at = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:at], self.buffer[at:]
        return taken

    def take_all(self):
        deadline = time.monotonic() + PATIENCE
        while self.more(deadline):
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def expect_end(self, how=None):
        deadline = time.monotonic() + PATIENCE
        while self.more(deadline):
            pass
        if self.buffer:
            raise Failed(f"{self.name}: unexpected bytes before the end: {self.buffer[:300]!r}")
        if how and self.ended != how:
            raise Failed(f"{self.name}: {self.ended}, not {how}")

    def is_quiet(self, seconds):
        """True when neither a byte nor an end comes for that long."""
        if self.buffer or self.ended:
            return False
        readable, _, _ = select.select([self.socket], [], [], seconds)
        return not readable

    def is_quiet_now(self, seconds):
        """As is_quiet, whatever was read before."""
        readable, _, _ = select.select([self.socket], [], [], seconds)
        return not readable

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


class Message:
    """A head and a body, as read from the wire."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.start = lines[0]
        self.fields = []
        for line in lines[1:]:
            if line:
                name, colon, value = line.partition(":")
                if not colon:
                    raise Failed(f"a line of the head is no field: {line!r}")
                self.fields.append((name.lower(), value.strip()))
        self.body = b""
        self.trailers = []

    @property
    def status(self):
        parts = self.start.split(" ")
        if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdigit():
            raise Failed(f"not a status line: {self.start!r}")
        return int(parts[1])

    def values(self, name):
        return [value for field, value in self.fields if field == name.lower()]


def read_message(end, has_body=True, to_close=False):
    message = Message(end.take_until(b"\r\n\r\n"))
    if not has_body:
        return message
    codings = ",".join(message.values("transfer-encoding")).lower()
    if "chunked" in codings:
        message.body = _chunked(end, message)
    elif message.values("content-length"):
        message.body = end.take(int(message.values("content-length")[0]))
    elif to_close:
        message.body = end.take_all()
    return message


def _chunked(end, message):
    body = b""
    while True:
        size = end.take_until(b"\r\n").split(b";")[0].strip()
        try:
            count = int(size, 16)
        except ValueError as error:
            raise Failed(f"not a chunk size: {size!r}") from error
        if count == 0:
            break
        body += end.take(count)
        if end.take(2) != b"\r\n":
            raise Failed("a chunk does not end with CRLF")
    while (line := end.take_until(b"\r\n")) != b"\r\n":
        message.trailers.append(line.decode("latin-1").strip())
    return body
