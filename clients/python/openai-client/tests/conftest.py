"""OpenAI's own client against a box: that of MEMBOX_URL, or one that is started for the tests."""

import os
from collections.abc import Iterator

import pytest
from openai import OpenAI

import membox


@pytest.fixture(scope="session")
def client() -> Iterator[OpenAI]:
    given = os.environ.get("MEMBOX_URL")
    if given:
        yield OpenAI(api_key="any", base_url=f"{given}/v1")
        return
    with membox.Box() as box:
        yield OpenAI(api_key="any", base_url=f"{box.url}/v1")
