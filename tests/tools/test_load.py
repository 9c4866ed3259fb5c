"""The load client: what it counts between the tokens of a stream."""

from __future__ import annotations

import asyncio
from typing import Any

from tools.bench.load import Client, Tally, run

TEXT = b'data: {"choices":[{"delta":{"content":" word"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
END = b"data: [DONE]\n\n"
PIECES = [ROLE, TEXT, TEXT + TEXT, TEXT, END]


def test_a_gap_is_between_two_texts_and_nought_where_they_came_together() -> None:
    tally = Tally(gaps_s=[])
    client: Any = Client(b"", tally, 0.0, asyncio.Future(loop=asyncio.new_event_loop()), stream=True)
    client.done.get_loop().close()
    for piece in PIECES:
        client._note_gaps(tally.gaps_s, piece)
    assert tally.gaps_s is not None
    assert [gap > 0 for gap in tally.gaps_s] == [True, False, True]


def test_a_whole_run_tells_the_gaps_of_its_streams() -> None:
    async def measured() -> dict[str, Any]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"}]")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in PIECES:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            body: dict[str, object] = {"messages": [{"role": "user", "content": "x"}], "stream": True}
            return await run(url, body, clients=1, seconds=0.0, key="k", gaps=True)

    found = asyncio.run(measured())
    assert (found["answers"], found["failures"]) == (1, 0)
    assert found["gap_ms"]["p99"] >= 0
