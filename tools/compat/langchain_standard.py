"""langchain-tests' standard integration tests for a chat model, with ChatOpenAI at OPENAI_BASE_URL.

Run by run.py with the Python of its own environment; no part of our test suite.
"""

from __future__ import annotations

import os

from langchain_core.language_models import BaseChatModel  # type: ignore[import-not-found,unused-ignore]
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found,unused-ignore]
from langchain_tests.integration_tests import (  # type: ignore[import-not-found,unused-ignore]
    ChatModelIntegrationTests,
)


class TestStandard(ChatModelIntegrationTests):  # type: ignore[misc,unused-ignore]
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        chosen: type[BaseChatModel] = ChatOpenAI
        return chosen

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {
            "model": "gpt-4o-mini",
            "base_url": os.environ["OPENAI_BASE_URL"],
            "api_key": os.environ["OPENAI_API_KEY"],
            "temperature": 0,
            "max_tokens": 200,
            "stream_usage": True,
            "max_retries": 0,
        }
