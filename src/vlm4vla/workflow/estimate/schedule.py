"""The time that all jobs take on a cluster, by list scheduling.

If several jobs can start, the job with the longest chain of dependent jobs starts first.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.work import Work
from vlm4vla.workflow.jobs import Job


@dataclass(frozen=True)
class Schedule:
    """`wall`: seconds from the start of the first job to the end of the last job.

    `critical`: seconds of the longest chain of jobs, which a larger cluster does not shorten. `peak`: the
    largest number of bytes on disk at a time.
    """

    wall: float
    critical: float
    peak: float


def schedule(jobs: Mapping[str, Job], works: Mapping[str, Work], cluster: Cluster) -> Schedule:
    """Simulate a run of `jobs` on `cluster` in which each job starts as soon as it fits.

    `jobs`: by output, with a job after the jobs of its inputs. Inputs that are not outputs of `jobs` exist
    already. `works`: the cost of each job. A job that needs more than the cluster has gets the whole cluster.
    """
    tails = _seconds_to_the_end(jobs, works)
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
        while ready:  # start each job that fits, first the job with the longest chain
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


def _seconds_to_the_end(jobs: Mapping[str, Job], works: Mapping[str, Work]) -> dict[str, float]:
    """For each job, the seconds of the longest chain of jobs that begins with it."""
    tails = {output: works[output].seconds for output in jobs}
    for output in reversed(jobs):  # a job is visited before its inputs
        for each in jobs[output].inputs:
            if each in tails:
                tails[each] = max(tails[each], works[each].seconds + tails[output])
    return tails
