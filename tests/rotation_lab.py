"""Nodes of ledger_world.py that change their keys, and meet afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ledger_second import second_opinion
from ledger_world import NET, Node

from opengateway.app import key_change
from opengateway.home import Home
from opengateway.identity import Identity
from opengateway.keys import write_key
from opengateway.ledger.audit import verify
from opengateway.ledger.findings import Report
from opengateway.ledger.rotation import Rotation

MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where a folder costs no disk: a killed process loses nothing of it, and the disk is no part of the test."""


def home_of(node: Node) -> Home:
    home = Home(node.path.parent)
    write_key(home.identity_key, node.identity)
    return home


def recovery_of(node: Node) -> Identity:
    return Identity.load_or_create(node.path.with_name("recovery.key"))


def rotate(node: Node, *, lost: bool = False, accident: int = 0) -> Rotation:
    """The node goes on under a new key."""
    node.book.close()
    home, recovery = home_of(node), recovery_of(node)
    if lost:
        key_change.begin_lost(home, NET, recovery, node.clock, accident=accident)
    else:
        key_change.begin_planned(home, NET, recovery, node.clock)
    done = key_change.finish(home, NET, node.clock)
    assert done is not None
    restart(node)
    return done


def restart(node: Node) -> None:
    node.identity = Identity.load_or_create(Home(node.path.parent).identity_key)
    node.id = node.identity.node_id
    node.book = node._open()


def meet(a: Node, b: Node) -> None:
    """A session between the two: papers first, then what each says of the account, and the answer."""
    for teller, hearer in ((a, b), (b, a)):
        for papers in teller.book.succession.own:
            hearer.book.succession.hear(papers)
            hearer.book.commit()
    said = [(a, b), (b, a)]
    for _ in range(8):
        if not said:
            return
        teller, hearer = said.pop(0)
        account = teller.book.succession.agreement.account(hearer.id)
        if account is not None:
            news = hearer.book.succession.agreement.told(teller.id, account.entry, account.evidence)
            hearer.book.commit()
            if news:
                said.append((hearer, teller))
    raise AssertionError("they go on telling each other the same")


def agreed(a: Node, b: Node) -> bool:
    mine, theirs = a.book.peer(b.id), b.book.peer(a.id)
    return mine[1:5] == (theirs.consumed, theirs.served, theirs.moved_out, theirs.moved_in)


def audited(node: Node) -> Report:
    """What both verifiers say of its export."""
    path = written(node)
    report = verify(path)
    second_opinion(path, report)
    return report


def written(node: Node) -> Path:
    path = node.path.parent / "export.ogwl"
    path.write_bytes(node.export())
    return path


def owed(a: Node, b: Node) -> int:
    return a.book.peer(b.id).owes_us
