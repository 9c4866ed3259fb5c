"""Changes of keys that are killed (SIGKILL) at every file that they touch, one after the other, each in a
child of its own; run as a program, so that it may fork.

    python tests/rotation_kills.py FOLDER planned|lost [STEP [SECOND]]

STEP: only at every so many files. SECOND: the completion is killed, too, so many times, where chance has
it. Prints how many places there were; whatever is found half done is an AssertionError.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from opengateway.app import key_change
from opengateway.home import Home
from opengateway.identity import Identity, network_id
from opengateway.ledger.book import Book
from opengateway.ledger.entry import ROTATE, read_body

NET = network_id("kills")
NOW = 1_700_000_000_000
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
TOUCHES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "sqlite3.connect"}


def killed_after(touches: int, work: Callable[[], object]) -> bool:
    """Whether the child that does the work was killed; False: it came to its end before."""
    child = os.fork()
    if child == 0:
        left = [touches]

        def watch(event: str, args: tuple[object, ...]) -> None:
            opens = event == "open" and isinstance(args[2], int) and args[2] & WRITES
            if event in TOUCHES or opens:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def begin(folder: Path) -> Home:
    """A node that owes one peer and is owed by another, with an open hold."""
    home = Home(folder / "home")
    home.prepare()
    me, ann, bob = Identity.load_or_create(home.identity_key), Identity.generate(), Identity.generate()
    books = [
        Book(path, key, NET, now_ms=lambda: NOW)
        for path, key in (
            (home.ledger_db, me),
            (folder / "ann" / "ledger.db", ann),
            (folder / "bob" / "ledger.db", bob),
        )
    ]
    for asker, worker, rid in ((0, 1, b"a"), (2, 0, b"b")):
        terms = {"price_prompt": 10, "price_completion": 100}
        names = books[asker].node_id, books[worker].node_id
        opening = books[asker].open(names[1], rid * 16, "m", prompt_tokens=1, max_completion=9, **terms)
        books[worker].admit(opening, names[0], **terms)
        books[worker].delivered(rid * 16, names[0], 1, 9)
        settle = books[asker].settle(rid * 16, prompt_tokens=1, completion_tokens=9, digest=bytes(32))
        books[asker].countersigned(books[worker].earn(settle, names[0]), names[1])
    books[0].open(ann.node_id, b"c" * 16, "m", prompt_tokens=1, max_completion=9, **terms)
    for book in books:
        book.commit()
        book.close()
    return home


def pairs_of(home: Home) -> dict[bytes, tuple[int, int]]:
    book = Book(home.ledger_db, Identity.load_or_create(home.identity_key), NET, now_ms=lambda: NOW)
    try:
        assert not book.damage, book.damage
        return {one.peer: (one.served, one.consumed) for one in book.peers() if one.served or one.consumed}
    finally:
        book.close()


def change(home: Home, lost: bool) -> None:
    recovery = Identity.load_or_create(home.ledger_db.with_name("recovery.key"))
    start = key_change.begin_lost if lost else key_change.begin_planned
    start(home, NET, recovery, lambda: NOW)
    finish(home)


def finish(home: Home) -> object:
    return key_change.finish(home, NET, lambda: NOW)


def check(home: Home, old: bytes, before: dict[bytes, tuple[int, int]], lost: bool) -> bool:
    """Whether the node has the new key now; whatever it is, all of it is."""
    finish(home)
    assert finish(home) is None, "once finished, nothing is left to do"
    changed = Identity.load_or_create(home.identity_key).node_id != old
    assert pairs_of(home) == before
    left = {path.name for path in home.path.iterdir() if path.name.startswith("ledger.db")}
    assert left <= {"ledger.db", "ledger.db.mark", "ledger.db.ballast"}, left
    if changed:
        assert not (home.path / "rotation").exists()
        (archive,) = (home.path / "old-keys").iterdir()
        assert Identity.load_or_create(archive / "identity.key").node_id == old
        with closing(sqlite3.connect(archive / "ledger.db")) as db:
            (last,) = db.execute("SELECT body FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        assert (read_body(last, NET).kind == ROTATE) is not lost
    return changed


def main(folder: Path, lost: bool, step: int, second: int) -> None:
    chance = random.Random(1)
    origin = folder / "origin"
    home = begin(origin)
    old, before = Identity.load_or_create(home.identity_key).node_id, pairs_of(home)
    place, outcomes = 0, []
    while True:
        copy = folder / "copy"
        shutil.copytree(origin / "home", copy)
        here = Home(copy)
        killed = killed_after(place, lambda here=here: change(here, lost))  # type: ignore[misc]
        again = [chance.randrange(40) for _ in range(second)] if killed else []
        for touches in again:
            killed_after(touches, lambda here=here: finish(here))  # type: ignore[misc]
        outcomes.append(check(here, old, before, lost))
        shutil.rmtree(copy)
        if not killed:
            break
        place += step
    assert outcomes == sorted(outcomes) or second, "once the papers are signed there is no way back"
    assert not outcomes[0] and outcomes[-1]
    print(place)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[3:]] + [1, 0][len(sys.argv) - 3 :]
    main(Path(sys.argv[1]), sys.argv[2] == "lost", *numbers)
