"""Steps about what may be read in two ways, and about requests that follow one another."""
import re
import select
import time

from .wire import PATIENCE, Failed, short as _short

QUIET = 0.25   # how long nothing must come where nothing may come
NOBODY = 0.05  # the same for a connection, asked after the proxy has refused


def select_both(listening, end):
    """Waits for a new connection or for more on the old one; an old one that ended counts as neither."""
    if end.buffer:
        return []
    ready, _, _ = select.select([listening, end.socket], [], [], PATIENCE)
    if not ready:
        raise Failed("the next request did not come")
    chosen = end.socket if end.socket in ready else listening
    return [(chosen, end)]


class AmbiguitySteps:
    """A part of the Player: uses its client, origin and origins."""

    def do_ends_without(self, *texts):
        said = self.client.take_all()
        if b"".join(self.text(text) for text in texts) in said:
            raise Failed(f"the answer looks complete: {_short(said)}")

    def do_next_request(self, *start):
        """The next request may come on the same connection to the origin or on a new one."""
        for sock, end in select_both(self.origins[0], self.origin):
            if sock is self.origins[0]:
                self.origin_accept()
            elif not end.more(time.monotonic() + PATIENCE):
                self.origin_accept()
        self.origin_request(*start)

    def do_plain_never_reached(self):
        """Whatever came to the origin, it was not a request in plain text."""
        for said in self._said_to_origins():
            if b"HTTP/1." in said:
                raise Failed(f"the origin was asked {_short(said)}")

    def do_no_second_request(self):
        """What is ambiguous ends the connection, or waits: never a second request, never a complete first one."""
        for said in self._said_to_origins():
            if b"smuggled" in said and b" /smuggled" in said:
                raise Failed(f"the origin was asked {_short(said)}")
            if said.endswith(b"0\r\n\r\n"):
                raise Failed(f"the ambiguous content was passed on as complete: {_short(said)}")

    def do_content_stays_content(self):
        """Whole and behind the first head; or the request is refused."""
        for said in self._said_to_origins():
            if said.count(b"HTTP/1.1\r\n") > 1 and b"\r\n\r\nGET http://evil.test/ HTTP/1.1" not in said:
                raise Failed(f"the origin was asked {_short(said)}")

    def _said_to_origins(self):
        """Everything that comes to the origin, until the proxy has answered, closed or is quiet."""
        said = []
        self.origins[0].settimeout(NOBODY * 4)
        while True:
            try:
                sock, _ = self.origins[0].accept()
            except TimeoutError:
                return said
            self.open.append(sock)
            sock.settimeout(QUIET)
            data = b""
            try:
                while piece := sock.recv(1 << 18):
                    data += piece
            except OSError:
                pass  # nothing more for now
            said.append(data)

    def do_answer_unambiguous(self):
        deadline = time.monotonic() + PATIENCE
        while not self.client.buffer.endswith(b"POISONED") and self.client.more(deadline):
            if b"\r\n\r\n" in self.client.buffer and self.client.is_quiet_now(QUIET):
                break  # a complete answer on a connection that is kept
        said = self.client.buffer
        if not said:
            return
        head, _, body = said.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        if head.startswith(b"HTTP/1.1 200") and (
                len(lengths) > 1 or any(not re.fullmatch(rb"content-length: *[0-9]+ *", line) for line in lengths)):
            raise Failed(f"the ambiguity was passed on: {_short(said)}")
        if b"HTTP/1.1 200 OK\r\nContent-Length: 7" in body and lengths:
            raise Failed(f"the rest of the answer became one: {_short(said)}")

    def do_never_poisoned(self):
        """A new connection asks, or the client's is closed."""
        self.origins[0].settimeout(PATIENCE)
        if select.select([self.origins[0], self.client.socket], [], [], PATIENCE)[0] == [self.origins[0]]:
            self.origin_accept()
            self.origin_request()
            self.origin_ok("clean")
        deadline = time.monotonic() + PATIENCE
        while b"POISONED" not in self.client.buffer and b"clean" not in self.client.buffer and self.client.more(deadline):
            pass
        said = self.client.buffer
        if b"POISONED" in said:
            raise Failed(f"received {_short(said)}")
