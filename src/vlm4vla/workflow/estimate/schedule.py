"""How long jobs take on a cluster: list scheduling, the job with the longest way to the end first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.work import Work
from vlm4vla.workflow.jobs import Job


@dataclass(frozen=True)
class Schedule:
    """`wall`: seconds from the first start to the last end; `critical`: those of the longest chain of jobs,
    which no cluster shortens; `peak`: the most bytes on disk at one time."""

    wall: float
    critical: float
    peak: float


def schedule(jobs: Mapping[str, Job], works: Mapping[str, Work], cluster: Cluster) -> Schedule:
    """Run `jobs` (by output, inputs first) whose costs are `works` on `cluster`, as soon as they fit.

    A job that asks for more than the cluster has gets all of it. Inputs that are not in `jobs` are made.
    """
    tails = _tails(jobs, works)
    waiting = {output: sum(each in jobs for each in job.inputs) for output, job in jobs.items()}
    users: dict[str, list[str]] = {output: [] for output in jobs}
    for output, job in jobs.items():
        for each in job.inputs:
            if each in jobs:
                users[each].append(output)
    ready = [(-tails[output], output) for output, count in waiting.items() if not count]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    gpus, cores = cluster.gpus, cluster.cores
    now = kept = scratch = peak = 0.0
    while ready or running:
        held_back = []
        while ready:  # whatever fits starts, the longest way first
            entry = heapq.heappop(ready)
            work = works[entry[1]]
            if min(work.gpus, cluster.gpus) > gpus or min(work.cores, cluster.cores) > cores:
                held_back.append(entry)
                continue
            gpus -= min(work.gpus, cluster.gpus)
            cores -= min(work.cores, cluster.cores)
            scratch += work.scratch + work.kept
            peak = max(peak, kept + scratch)
            heapq.heappush(running, (now + work.seconds, entry[1]))
        ready = held_back
        heapq.heapify(ready)
        now, ended = heapq.heappop(running)
        done = [ended]
        while running and running[0][0] == now:
            done.append(heapq.heappop(running)[1])
        for output in done:
            work = works[output]
            gpus += min(work.gpus, cluster.gpus)
            cores += min(work.cores, cluster.cores)
            scratch -= work.scratch + work.kept
            kept += work.kept
            for user in users[output]:
                waiting[user] -= 1
                if not waiting[user]:
                    heapq.heappush(ready, (-tails[user], user))
    return Schedule(now, max(tails.values(), default=0.0), peak)


def _tails(jobs: Mapping[str, Job], works: Mapping[str, Work]) -> dict[str, float]:
    """Seconds of the longest chain from each job's start to the end."""
    tails = {output: works[output].seconds for output in jobs}
    for output in reversed(jobs):  # users come before what they use
        for each in jobs[output].inputs:
            if each in tails:
                tails[each] = max(tails[each], works[each].seconds + tails[output])
    return tails
