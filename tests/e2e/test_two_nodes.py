"""First light: a prompt on a node without a model is answered by the other node's engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import Node, private_network, until
from pairs import Pair
from sse import QUESTION, Streamed, chat

CHAT = "/v1/chat/completions"
AUDIT = [sys.executable, "-c", "import sys; from opengateway.ledger.audit_cli import main; sys.exit(main())"]


def balances(pair: Pair) -> tuple[int, int]:
    """(asking, serving)"""
    return tuple(node.get("/node/ledger/balance")["balance"] for node in (pair.asking, pair.serving))  # type: ignore[return-value]


def test_a_prompt_on_a_node_without_a_model_is_answered_by_the_other(pocket_pair: Pair) -> None:
    status, answer = pocket_pair.asking.request("POST", CHAT, chat(), {"x-opengateway-stats": "1"})
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip() == "4"
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    stats = answer["opengateway"]
    assert stats["route"]["node"] == pocket_pair.serving.get("/node/status")["short"]
    assert stats["route"]["name"] == "serving"
    assert (stats["route"]["ring"], stats["route"]["engine"]) == ("lan", "llama_server")
    assert stats["prompt_tokens"] == usage["prompt_tokens"]
    assert stats["ttft_ms"] > 0


def test_the_other_node_answers_its_own_prompts_itself(pocket_pair: Pair) -> None:
    _, answer = pocket_pair.serving.request("POST", CHAT, chat(), {"x-opengateway-stats": "1"})
    assert answer["opengateway"]["route"]["ring"] == "local"
    assert answer["opengateway"]["credits"] == "0"


def test_credit_moves_from_the_asking_to_the_serving_node(pocket_pair: Pair) -> None:
    until(lambda: sum(balances(pocket_pair)) == 0, "what the tests before asked for is settled")
    before = balances(pocket_pair)
    pocket_pair.asking.post(CHAT, chat())
    until(lambda: balances(pocket_pair) != before, "the balances move")
    until(lambda: sum(balances(pocket_pair)) == 0, "both sides agree")
    asking, serving = balances(pocket_pair)
    assert asking < before[0]
    assert serving > before[1]
    until(lambda: pocket_pair.asking.get("/node/ledger/balance")["held"] == 0, "nothing is held")
    [theirs] = pocket_pair.asking.get("/node/ledger/peers")["peers"]
    [ours] = pocket_pair.serving.get("/node/ledger/peers")["peers"]
    assert theirs["consumed"] == ours["served"] == serving
    [peer] = pocket_pair.serving.get("/node/peers")["peers"]
    assert peer["owes_us"] == serving


def audit(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*AUDIT, *map(str, words)], capture_output=True, text=True, check=False)


def test_exports_of_both_sides_pass_the_audit(pocket_pair: Pair, tmp_path: Path) -> None:
    pocket_pair.asking.post(CHAT, chat())
    files = {node: tmp_path / f"{node.name}.ogwl" for node in (pocket_pair.asking, pocket_pair.serving)}

    def complete() -> bool:
        """A countersignature may still be on its way: that is a warning (1), everything else a finding."""
        for node, file in files.items():
            file.write_bytes(node.get("/node/ledger/export"))
        done = [audit("verify", file) for file in files.values()]
        assert all(each.returncode in (0, 1) for each in done), "\n".join(each.stdout for each in done)
        return not any(each.returncode for each in done)

    until(complete, "every entry has its other half", patience_s=60)
    done = audit("pair", *files.values())
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_streamed_answer_comes_in_pieces_with_usage_and_stats(pocket_pair: Pair) -> None:
    body = chat(stream_options={"include_usage": True})
    with Streamed(pocket_pair.asking, body, {"x-opengateway-stats": "1"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["x-opengateway-route"] == "lan"
        assert answer.headers["x-opengateway-request-id"].startswith("req-")
        events = list(answer.events())
    assert events.pop() == "[DONE]"
    stats = events.pop()["opengateway"]
    usage = events.pop()["usage"]
    assert stats["completion_tokens"] == usage["completion_tokens"] > 0
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert text.strip() == "4"
    assert len({event["id"] for event in events}) == 1


def test_without_being_asked_a_stream_carries_no_usage_and_no_stats(pocket_pair: Pair) -> None:
    with Streamed(pocket_pair.asking, chat()) as answer:
        events = list(answer.events())
    assert not [event for event in events[:-1] if "usage" in event or "opengateway" in event]


def test_the_same_prompt_gets_the_same_answer_on_either_node(pocket_pair: Pair) -> None:
    texts = set()
    for node in (pocket_pair.asking, pocket_pair.serving):
        with Streamed(node, chat("What is the capital of France?", temperature=0)) as answer:
            texts.add(answer.text())
    assert len(texts) == 1


def test_both_nodes_list_the_model_and_who_has_it(pocket_pair: Pair) -> None:
    [theirs] = pocket_pair.asking.get("/v1/models")["data"]
    [ours] = pocket_pair.serving.get("/v1/models")["data"]
    assert theirs["id"] == ours["id"] == "pocket"
    assert (theirs["opengateway"]["local"], ours["opengateway"]["local"]) == (False, True)
    assert theirs["opengateway"]["nodes"] == ours["opengateway"]["nodes"] == 1


def test_a_prompt_may_be_kept_on_this_node(pocket_pair: Pair) -> None:
    status, answer = pocket_pair.asking.request("POST", CHAT, chat(), {"x-opengateway-scope": "local"})
    assert status == 404
    assert answer["error"]["code"] == "model_not_found"


def test_an_unknown_model_names_what_was_probably_meant(pocket_pair: Pair) -> None:
    status, answer = pocket_pair.asking.request("POST", CHAT, chat(model="pokcet"))
    assert status == 404
    assert answer["error"]["code"] == "model_not_found"
    assert "did you mean pocket?" in answer["error"]["message"]


def test_the_others_error_reaches_the_caller_as_it_was_meant(pocket_pair: Pair) -> None:
    """A prompt beyond the context is the caller's mistake, wherever the engine is."""
    long = chat("word " * 3000)
    answers = [node.request("POST", CHAT, long) for node in (pocket_pair.asking, pocket_pair.serving)]
    for status, answer in answers:
        assert status == 400, answer
        assert answer["error"]["code"] == "context_length_exceeded"


def test_legacy_completions_travel_too(pocket_pair: Pair) -> None:
    answer = pocket_pair.asking.post("/v1/completions", {"prompt": "The sky", "max_tokens": 5})
    assert answer["object"] == "text_completion"
    assert answer["usage"]["completion_tokens"] <= 5


def test_status_peers_and_clusters_show_the_other_side(pocket_pair: Pair) -> None:
    status = pocket_pair.asking.get("/node/status")
    assert status["peers"] == {"total": 1, "by_ring": {"lan": 1}}
    assert status["engine"]["state"] == "none"
    [peer] = pocket_pair.asking.get("/node/peers")["peers"]
    assert (peer["name"], peer["state"], peer["models"]) == ("serving", "up", ["pocket"])
    until(lambda: pocket_pair.asking.get("/node/peers")["peers"][0]["rtt_ms"] is not None, "a round trip")
    [cluster] = pocket_pair.asking.get("/node/clusters")["clusters"]
    assert (cluster["model"], cluster["joined"]) == ("pocket", False)
    assert cluster["members"] == [peer["short"]]


def test_no_actor_has_failed_and_none_lost_a_message(pocket_pair: Pair) -> None:
    for node in (pocket_pair.asking, pocket_pair.serving):
        told = node.get("/node/actors")
        assert not told["failed"]
        assert [row["name"] for row in told["actors"] if row["lost"] or row["life"] > 1] == []


def test_a_third_node_that_both_know_is_asked_as_well(pocket_pair: Pair, tmp_path: Path) -> None:
    network = {name: pocket_pair.serving.config[name] for name in private_network()}
    changes = {"wire": {"bootstrap": [pocket_pair.serving.endpoint]}, "engine": {"kind": "none"}}
    with Node(tmp_path, "third", network, **changes) as third:
        until(lambda: third.get("/node/models")["network"], "the model is offered")
        with Streamed(third, chat()) as answer:
            assert answer.text().strip() == "4"


def test_a_question_of_many_words_is_asked_as_typed(pocket_pair: Pair) -> None:
    done = pocket_pair.asking.cli("prompt", QUESTION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "4"
