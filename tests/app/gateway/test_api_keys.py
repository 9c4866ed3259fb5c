"""API keys: their file, their budgets, and who is who."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from opengateway.app.gateway import callers
from opengateway.app.gateway.api_keys import ApiKey, KeyFile, Usage, digest, is_key, period_now
from opengateway.app.gateway.callers import (
    NOBODY,
    TRIES,
    BudgetSpent,
    Caller,
    Callers,
    ModelForbidden,
    Rates,
    TooManyRequests,
    is_local,
)
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Stream
from opengateway.errors import BadRequest, EngineUnavailable, OpenGatewayError, SetupError, Unauthorized

FAR, HERE = "192.168.1.9", "127.0.0.1"


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "api-keys.json")


@pytest.fixture(autouse=True)
def _no_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "PENALTY_S", 0.0)


# -- the file ---------------------------------------------------------------------------------


def test_a_key_is_kept_as_a_hash_in_a_file_that_only_its_owner_reads(keys: KeyFile) -> None:
    secret, made = keys.add("Ada")
    text = keys.path.read_text()
    assert is_key(secret)
    assert secret not in text
    assert secret.removeprefix("og-") not in text
    assert digest(secret) in text
    assert keys.path.stat().st_mode & 0o777 == 0o600
    assert secret.startswith(made.id)
    assert keys.find(secret) == made
    assert keys.find(secret[:-1] + "x") is None


def test_no_two_keys_share_a_name(keys: KeyFile) -> None:
    keys.add("Ada")
    with pytest.raises(BadRequest, match="Ada"):
        keys.add("Ada")


def test_a_revoked_key_is_gone_for_a_node_that_runs(keys: KeyFile) -> None:
    secret, _ = keys.add("Ada")
    running = KeyFile(keys.path)
    assert running.find(secret)
    keys.revoke("Ada")
    running._looked = -1e9  # a second later
    assert running.find(secret) is None
    with pytest.raises(BadRequest, match="no key"):
        keys.revoke("Ada")


def test_a_key_that_is_added_is_known_to_a_node_that_runs(keys: KeyFile) -> None:
    running = KeyFile(keys.path)
    assert not running
    secret, _ = keys.add("Ada", models=("m",))
    found = running.find(secret)
    assert found
    assert found.models == ("m",)


@pytest.mark.parametrize("text", ["{", "[]", '{"keys": [{}]}', '{"keys": 7}', '{"keys": [{"hash": "x"}]}'])
def test_a_damaged_file_is_named_and_lets_nobody_in(keys: KeyFile, text: str) -> None:
    keys.path.write_text(text)
    with pytest.raises(SetupError, match="api-keys"):
        keys.all()
    with pytest.raises(SetupError):
        keys.find("og-" + "x" * 43)


def test_a_damaged_file_is_not_told_to_who_asks(keys: KeyFile) -> None:
    keys.path.write_text("{")
    error = who(known(keys), FAR, "og-" + "x" * 43)
    assert isinstance(error, EngineUnavailable)
    assert str(keys.path) not in error.message + error.hint


def test_many_commands_at_once_lose_no_key(keys: KeyFile) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: KeyFile(keys.path).add(f"user{number}"), range(24)))
    assert len(keys.all()) == 24


# -- budgets ----------------------------------------------------------------------------------


def asked(model: str = "m", **body: Any) -> GenerateRequest:
    return GenerateRequest("chat", model, {"messages": [{"role": "user", "content": "x" * 30}], **body})


def done(prompt: int, completion: int, cost: int = 0) -> Stream:
    class Ended:
        finished = Finished("stop", prompt, completion)
        passed = 0

    ended: Any = Ended()
    ended.cost = cost
    return ended  # type: ignore[no-any-return]


def caller(tmp_path: Path, **limits: Any) -> Caller:
    return Caller(ApiKey("og-x", "x", "0" * 64, 0, **limits), Usage(tmp_path / "usage.json"))


def test_tokens_are_counted_and_the_budget_ends(tmp_path: Path) -> None:
    one = caller(tmp_path, tokens=100)
    one.admit(asked())
    one.settle(done(40, 60))
    with pytest.raises(BudgetSpent, match="tokens"):
        one.admit(asked())


def test_an_answer_ends_where_the_budget_does(tmp_path: Path) -> None:
    one = caller(tmp_path, tokens=100)
    assert one.admit(asked(max_tokens=5000)).body["max_tokens"] == 90


def test_several_answers_share_what_is_left(tmp_path: Path) -> None:
    one = caller(tmp_path, tokens=100)
    assert one.admit(asked(max_tokens=5000), 9).body["max_tokens"] == 10
    with pytest.raises(BudgetSpent):
        caller(tmp_path, tokens=100).admit(asked(max_tokens=5000), 91)


def test_many_requests_at_once_do_not_each_take_the_rest(tmp_path: Path) -> None:
    first = caller(tmp_path, tokens=100)
    second = Caller(first.key, first.usage)
    first.admit(asked(max_tokens=80))
    with pytest.raises(BudgetSpent):  # 90 of 100 are set aside, and its prompt alone may have 10
        second.admit(asked(max_tokens=80))
    third = Caller(first.key, first.usage)
    with pytest.raises(BudgetSpent):
        third.admit(asked(max_tokens=80))
    first.settle(done(10, 0))
    assert third.admit(asked(max_tokens=80)).body["max_tokens"] == 80


def test_credits_are_counted_and_the_budget_ends(tmp_path: Path) -> None:
    one = caller(tmp_path, credits=1000)
    one.admit(asked())
    one.settle(done(1, 1, cost=1000))
    with pytest.raises(BudgetSpent, match="credits"):
        one.admit(asked())


def test_a_key_asks_for_its_models_alone(tmp_path: Path) -> None:
    one = caller(tmp_path, models=("Small", "other"))
    assert one.admit(asked("small:latest")).model == "small:latest"
    assert one.admit(asked("")).model == "Small"
    assert one.allows("OTHER")
    with pytest.raises(ModelForbidden) as caught:
        one.admit(asked("big"))
    assert caught.value.status == 404


def test_what_was_used_survives_a_restart_and_a_period_begins_anew(tmp_path: Path) -> None:
    key = ApiKey("og-x", "x", "0" * 64, 0, period="day")
    usage = Usage(tmp_path / "usage.json")
    usage.add(usage.of(key, 0.0), 7, 8)
    usage.save()
    again = Usage(tmp_path / "usage.json")
    again.load()
    assert (again.of(key, 60.0).tokens, again.of(key, 60.0).credits) == (7, 8)
    assert again.of(key, 86_400.0).tokens == 0
    assert [period_now(p, 0.0) for p in ("day", "month", "ever")] == ["1970-01-01", "1970-01", ""]


def test_a_damaged_file_of_what_was_used_stops_no_node(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"a": 7}', '{"a": {"x": 1}}'):
        (tmp_path / "usage.json").write_text(text)
        Usage(tmp_path / "usage.json").load()


# -- rates ------------------------------------------------------------------------------------


def test_a_rate_lets_a_quarter_come_at_once_and_the_rest_as_time_goes_by() -> None:
    rates = Rates()
    for _ in range(15):
        rates.take("a", 60, 0.0)
    with pytest.raises(TooManyRequests) as caught:
        rates.take("a", 60, 0.0)
    assert caught.value.retry_after == pytest.approx(1.0)
    rates.take("b", 60, 0.0)
    rates.take("a", 60, 1.1)


def test_addresses_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "ADDRESSES", 10)
    rates = Rates()
    for number in range(100):
        rates.take(str(number), 60, 0.0)
    assert len(rates._buckets) == 10


# -- who is who -------------------------------------------------------------------------------


def request(remote: str, bearer: str = "", **headers: str) -> Any:
    given = {"Authorization": f"Bearer {bearer}"} if bearer else {}

    class Transport:
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return (remote, 1) if name == "peername" else default

    return make_mocked_request("GET", "/v1/models", headers=given | headers, transport=Transport())


def who(known: Callers, *given: Any, **more: Any) -> Caller | OpenGatewayError:
    async def main() -> Caller | OpenGatewayError:
        try:
            return await known.who(request(*given, **more))
        except OpenGatewayError as error:
            return error

    return asyncio.run(main())


def known(keys: KeyFile, **more: Any) -> Callers:
    return Callers("token", keys, Usage(keys.path.with_name("usage.json")), **more)


@pytest.mark.parametrize("bearer", ["", "none", "sk-whatever", "token"])
def test_this_machine_needs_no_key_whatever_its_programs_send(keys: KeyFile, bearer: str) -> None:
    assert who(known(keys), HERE, bearer) is NOBODY


@pytest.mark.parametrize("bearer", ["", "none", "sk-whatever", "og-" + "x" * 43])
def test_elsewhere_only_a_key_or_the_owners_token_opens(keys: KeyFile, bearer: str) -> None:
    secret, made = keys.add("Ada")
    assert isinstance(who(known(keys), FAR, bearer), Unauthorized)
    found = who(known(keys), FAR, secret)
    assert isinstance(found, Caller)
    assert found.key == made
    assert who(known(keys), FAR, "token") is NOBODY
    other = who(known(keys), FAR, **{"x-api-key": secret})
    assert isinstance(other, Caller)


def test_a_revoked_key_does_not_go_on_working_because_it_is_used_here(keys: KeyFile) -> None:
    secret, _ = keys.add("Ada")
    keys.revoke("Ada")
    assert isinstance(who(known(keys), HERE, secret), Unauthorized)


def test_where_keys_are_always_needed_they_are_needed_here_too(keys: KeyFile) -> None:
    secret, _ = keys.add("Ada")
    assert isinstance(who(known(keys, always=True), HERE), Unauthorized)
    assert isinstance(who(known(keys, always=True), HERE, secret), Caller)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time goes by: a busy machine must not earn anybody another try."""
    monkeypatch.setattr(callers, "time", SimpleNamespace(monotonic=lambda: 100.0, time=time.time))


@pytest.mark.usefixtures("still")
def test_who_guesses_is_slowed_and_then_not_listened_to_while_others_are(keys: KeyFile) -> None:
    secret, _ = keys.add("Ada")
    made = known(keys)
    answers = [who(made, FAR, "og-" + f"{number:043}") for number in range(TRIES)]
    assert isinstance(answers[0], Unauthorized)
    assert isinstance(answers[-1], TooManyRequests)
    assert isinstance(who(made, FAR, secret), Caller)
    assert isinstance(who(made, "192.168.1.10", "og-" + "y" * 43), Unauthorized)


def test_a_wrong_key_waits_for_its_answer(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "PENALTY_S", 0.05)
    began = time.monotonic()
    who(known(keys), FAR, "og-" + "x" * 43)
    assert time.monotonic() - began >= 0.05


@pytest.mark.usefixtures("still")
def test_a_key_has_its_own_rate(keys: KeyFile) -> None:
    secret, _ = keys.add("Ada", per_minute=4)
    made = known(keys)
    assert isinstance(who(made, HERE, secret), Caller)
    assert isinstance(who(made, HERE, secret), TooManyRequests)


def test_an_alias_in_a_keys_list_means_its_model(keys: KeyFile) -> None:
    secret, _ = keys.add("Ada", models=("gpt-4o-mini",))
    found = who(known(keys, resolve=lambda name: "pocket"), FAR, secret)
    assert isinstance(found, Caller)
    assert found.allows("pocket")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.3.4.5", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.168.1.2", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        (None, False),
        ("x", False),
    ],
)
def test_only_loopback_is_this_machine(address: str | None, local: bool) -> None:
    assert is_local(address) is local


def test_the_file_of_usage_holds_no_key(tmp_path: Path) -> None:
    usage = Usage(tmp_path / "usage.json")
    key = ApiKey("og-abcdefgh", "Ada", "f" * 64, 0)
    usage.add(usage.of(key, 0.0), 1, 1)
    usage.save()
    assert json.loads((tmp_path / "usage.json").read_text()).keys() == {"og-abcdefgh"}
    assert "f" * 64 not in (tmp_path / "usage.json").read_text()
