"""What the runs came to, for people."""

from __future__ import annotations

from collections.abc import Sequence

from opengateway.units import CREDIT
from tools.economy.scenario import Outcome, Setting

Runs = Sequence[tuple[Setting, Outcome]]

CYCLES = {3: "a cycle of three", 4: "a cycle of four"}


def name(setting: Setting) -> str:
    """A run's, for a table or a legend."""
    if setting.classes > 1:
        through = ("no transfers", "through one node", "through one or two")[setting.middles]
        return f"{CYCLES[setting.classes]}, {through}"
    return {"none": "nobody attacks"}.get(setting.attack, setting.attack)


def text(runs: Runs) -> str:
    setting = runs[0][0]
    hours, begins = setting.rounds // 6, setting.begins // 6
    policy = setting.policy
    head = (
        f"{setting.nodes:,} honest nodes, {setting.rounds} rounds of 10 minutes ({hours} h), "
        f"seed {setting.seed}; amounts in credits.\n"
        f"From hour {begins} on, attackers ask for as much as all honest nodes together.\n"
        f"Every node's pool for strangers: {policy.pool / CREDIT:.0f}, at most "
        f"{policy.stranger_line / CREDIT:.0f} for each of them, "
        f"{policy.pool_refill_per_hour / CREDIT:.0f} an hour forgiven.\n"
    )
    lines = [head]
    attacks = [(one, got) for one, got in runs if one.attack != "none"]
    if attacks:
        lines += _taken(attacks)
    lines += _got(runs)
    made = sum(abs(got.sum_of_pairs) for _, got in runs)
    apart = sum(got.disagreements for _, got in runs)
    lines.append(
        f"Sum over all pairs in {len(runs)} runs: {made} ucr. Pairs whose two sides disagree: {apart}."
    )
    return "\n".join(lines)


def _taken(runs: Runs) -> list[str]:
    return [
        _row("attackers", "keys", "served", "taken", "backed", "bound", "pools", "bound", ""),
        *(
            _row(
                name(setting),
                f"{got.identities:,}",
                f"{got.contributed:,.1f}",
                f"{got.taken:,.1f}",
                f"{got.backed:,.1f}",
                f"{got.backed_bound:,.1f}",
                f"{got.from_pools:,.0f}",
                f"{got.pools_bound:,.0f}",
                "held" if got.holds else "BROKEN",
            )
            for setting, got in runs
        ),
        "  taken = backed by what they served (at most 1.25 times that) + out of the pools (at most all)",
        "",
    ]


def _got(runs: Runs) -> list[str]:
    return [
        _line("honest nodes", "asked", "admitted", "", "by worth", "at the end", "transfers", "moved"),
        *(
            _line(
                name(setting),
                f"{got.asked:,}",
                f"{got.admitted:,}",
                f"{got.rate:.1%}",
                f"{got.worth(setting.begins, setting.rounds):.1%}",
                f"{got.at_the_end:.1%}",
                f"{got.transfers:,}",
                f"{got.moved:,.0f}",
            )
            for setting, got in runs
        ),
        "  counted from the attack on; by worth: credits got of credits asked for;",
        "  at the end: the same in the last eighth of the time",
        "",
    ]


def _row(first: str, *rest: str) -> str:
    return f"{first:13}" + "".join(
        word.rjust(width) for word, width in zip(rest, (8, 10, 12, 10, 10, 10, 10, 8), strict=True)
    )


def _line(first: str, *rest: str) -> str:
    return f"{first:38}" + "".join(
        word.rjust(width) for word, width in zip(rest, (10, 10, 8, 10, 12, 11, 10), strict=True)
    )
