"""demandcast doctor."""

import sys
from dataclasses import asdict

from rich.markup import escape

from ray_app.commands.options import Json
from ray_app.output import console, emit

MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "failed": "[red]failed[/]",
    "skipped": "[dim]skipped[/]",
}


def doctor(json: Json = False) -> None:
    """Say whether the cluster can do the job, and what to do where it cannot.

    Looks at the cluster that RAY_ADDRESS names, else at this machine: nodes, token, versions, storage, disk, clocks,
    and whether workers reach each other (NCCL or gloo). Exit code 1 where something failed.
    """
    from ray_app.cluster import connect
    from ray_app.doctor import examine
    from ray_app.home import Home

    connect()
    findings = []
    for each in examine(Home.here().folder):
        findings.append(each)
        console.print(f"{MARKS[each.state]:<16} {each.what:<9} {escape(each.found)}")
        if each.advice:
            console.print(f"{'':18} {escape(each.advice)}")
    healthy = all(each.state != "failed" for each in findings)
    emit({"healthy": healthy, "findings": [asdict(each) for each in findings]}, json)
    if not healthy:
        sys.exit(1)
