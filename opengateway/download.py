"""Fetch a small file over HTTP, bounded in size and time."""

from __future__ import annotations

CHUNK = 64 * 1024


async def download(url: str, *, limit: int, within_s: float) -> bytes:
    """At most `limit` + 1 bytes of what is there: more than `limit` is the caller's to refuse.

    Raises `OSError` with the reason, also for a status other than 200 and for an answer that comes too late.
    """
    import aiohttp

    bound = aiohttp.ClientTimeout(total=within_s)
    content = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=bound) as session,
            session.get(url, max_redirects=3) as answer,
        ):
            if answer.status != 200:
                raise OSError(f"HTTP status {answer.status}")
            async for piece in answer.content.iter_chunked(CHUNK):
                content += piece
                if len(content) > limit:
                    break
    except TimeoutError as error:
        raise OSError(f"no answer within {within_s:.0f} s") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise OSError(str(error) or type(error).__name__) from error
    return bytes(content[: limit + 1])
