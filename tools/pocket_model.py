#!/usr/bin/env python3
"""Make the pocket model: text, vocabulary, training, GGUF. Minutes on a CPU; the same file every time.

    python -m venv torch-venv && torch-venv/bin/pip install torch numpy gguf
    torch-venv/bin/python tools/pocket_model.py --out pocket.gguf

Only this tool needs torch. Everything random comes from --seed, and with one --threads value the result is
the same to the byte on the same machine and torch version; what ships is described in
opengateway/models/pocket/RECIPE.md. Training is never part of the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from random import Random

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.pocket.corpus import arithmetic, conversation  # noqa: E402
from tools.pocket.facts import fact  # noqa: E402
from tools.pocket.tokenizer import END, Tokenizer, train_pieces  # noqa: E402

MERGES = 400
TEXTS = 8000
"""Conversations from which the vocabulary is learnt."""
EXAM_SEED = 12345


def vocabulary(random: Random) -> Tokenizer:
    """The shipped file's vocabulary for `Random(1)`; needs no torch."""
    texts = [text for _ in range(TEXTS) for _, text in conversation(random)]
    return Tokenizer(train_pieces(texts, MERGES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("pocket.gguf"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12_000, help="training steps of 2,048 tokens")
    parser.add_argument(
        "--threads", type=int, default=1, help="more is faster, and another number rounds otherwise"
    )
    given = parser.parse_args()
    try:
        import gguf  # noqa: F401
        import torch
    except ImportError as error:
        sys.exit(f"{error}. This tool alone needs them: pip install torch numpy gguf")
    from tools.pocket import export
    from tools.pocket.model import Model, Shape
    from tools.pocket.train import Plan, train

    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    random = Random(given.seed)
    tokenizer = vocabulary(random)
    model = Model(Shape(len(tokenizer.tokens)), torch.Generator().manual_seed(given.seed))
    print(f"{len(tokenizer.tokens)} tokens in the vocabulary, {model.parameters} parameters", flush=True)
    loss = train(model, tokenizer, Plan(given.steps), random)
    export.write(model, tokenizer, given.out)
    digest = hashlib.sha256(given.out.read_bytes()).hexdigest()
    print(f"loss {loss:.4f}; {given.out}: {given.out.stat().st_size} bytes, SHA-256 {digest}")

    def answer(question: str, limit: int) -> str:
        ids, _ = tokenizer.conversation([("user", question)], ask=True)
        return tokenizer.decode(model.greedy(ids, END, limit))

    sums = [(f"What is {a}+{b}?", str(a + b)) for a in range(10) for b in range(10)]
    exam = Random(EXAM_SEED)
    for name, pairs, limit in (
        ("one-digit sums", sums, 4),
        ("arithmetic", [arithmetic(exam) for _ in range(200)], 6),
        ("facts", [fact(exam) for _ in range(200)], 60),
    ):
        right = sum(answer(question, limit) == expected for question, expected in pairs)
        print(f"{name}: {right} of {len(pairs)} right", flush=True)


if __name__ == "__main__":
    main()
