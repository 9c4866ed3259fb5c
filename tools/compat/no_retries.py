"""A pytest plugin: openai's client without its retries, so that a suite of refusals does not take an hour."""

from __future__ import annotations

import openai

for client in (openai.OpenAI, openai.AsyncOpenAI):
    defaults = client.__init__.__kwdefaults__
    assert defaults is not None
    defaults["max_retries"] = 0
