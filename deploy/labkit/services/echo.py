"""The edge of a vendor's tunnel: UDP and TCP echo that tells callers how they are seen.

UDP: every datagram is answered with "ADDRESS PAYLOAD"; one that starts with "echo" comes back unchanged.
TCP: "ADDRESS\\n" at once, then every byte comes back.

usage: python3 -m labkit.services.echo PORT ADDRESS...
"""

from __future__ import annotations

import asyncio
import sys


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: tuple) -> None:
        self.transport.sendto(data if data.startswith(b"echo") else peer[0].encode() + b" " + data, peer)


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(writer.get_extra_info("peername")[0].encode() + b"\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        writer.close()


async def main(port: int, addresses: list[str]) -> None:
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_datagram_endpoint(Datagrams, local_addr=(address, port))
        await asyncio.start_server(stream, address, port, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
