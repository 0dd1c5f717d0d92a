"""Plans large zoos on paper: replays measured times of models on made up clusters.

    python benchmarks/zoo_scale.py --results=<dest of a run> --models=100000 --bytes=1e15

Each model of the plan takes the time that a measured one took (drawn at random, with a fixed seed), and the time to
bring its bytes and the result's over its node's share of the network. Nodes fail now and then; what they had in work
begins again elsewhere, as under Ray. Sizes follow a cut Pareto distribution with the sum that `--bytes` asks for.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import random

from migrate.zoo import history


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """nodes x slots; `bandwidth` in bytes/s of a node, `shared` of the store; `failures` a node and hour."""

    nodes: int
    slots: int
    bandwidth: float
    shared: float
    failures: float


@dataclasses.dataclass(slots=True, kw_only=True)
class Ledger:
    """Slot seconds; `wall` and `network` (all bytes over the narrowest line) in seconds of the run."""

    migrating: float = 0.0
    staging: float = 0.0
    lost: float = 0.0
    wall: float = 0.0
    network: float = 0.0


def simulate(times: list[float], sizes: list[float], cluster: Cluster, per_byte: float, seed: int) -> Ledger:
    """Events: a slot becomes free and takes the next model, large ones first as their time bounds the end."""
    chance = random.Random(seed)
    ledger = Ledger()
    slots = cluster.nodes * cluster.slots
    # One transfer has its node's line, or the node's part of the store's; all together are held against both below.
    line = min(cluster.bandwidth, cluster.shared / cluster.nodes)
    free = [0.0] * slots
    heapq.heapify(free)
    rate = cluster.failures / 3600
    for base, size in sorted(zip(times, sizes, strict=True), key=lambda pair: -pair[1]):
        migrating, staging = base + size * per_byte, 2 * size / line
        begun = heapq.heappop(free)
        while rate and (until := chance.expovariate(rate)) < migrating + staging:
            ledger.lost += until
            begun += until
        ledger.migrating += migrating
        ledger.staging += staging
        heapq.heappush(free, begun + migrating + staging)
    ledger.network = 2 * sum(sizes) / min(cluster.bandwidth * cluster.nodes, cluster.shared)
    ledger.wall = max(*free, ledger.network)
    return ledger


def draw_sizes(count: int, total: float, seed: int) -> list[float]:
    chance = random.Random(seed)
    raw = [min(chance.paretovariate(1.2), 200.0) for _ in range(count)]
    scale = total / sum(raw)
    return [value * scale for value in raw]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True)
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--bytes", type=float, default=1e15)
    parser.add_argument("--per_gib", type=float, default=6.0, help="seconds that a GiB of weights adds")
    parser.add_argument("--record_seconds", type=float, default=0.01, help="the driver's time for a record")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    journal, names = history.load_results(arguments.results)
    measured = [journal.known[name].seconds for name in names if journal.known[name].seconds]
    chance = random.Random(arguments.seed)
    times = [chance.choice(measured) for _ in range(arguments.models)]
    sizes = draw_sizes(arguments.models, arguments.bytes, arguments.seed)
    print(
        f"{len(measured)} measured models: mean {sum(measured) / len(measured):.1f} s; planned: "
        f"{arguments.models:,} models, {arguments.bytes / 1e12:,.0f} TB, largest {max(sizes) / 1e9:,.0f} GB; "
        f"driver {arguments.models * arguments.record_seconds / 3600:.1f} h of records"
    )
    print("| nodes x slots | node's line | store's line | wall | network alone | migrating | staging | lost |")
    print("|---|---|---|---|---|---|---|---|")
    for nodes, slots, line, shared in (
        (1, 2, 1, 50),
        (8, 8, 10, 50),
        (32, 16, 10, 100),
        (128, 16, 10, 200),
        (128, 16, 25, 2000),
    ):
        cluster = Cluster(nodes=nodes, slots=slots, bandwidth=line * 1.25e8, shared=shared * 1.25e8, failures=0.002)
        found = simulate(times, sizes, cluster, arguments.per_gib / 2**30, arguments.seed)
        whole = found.migrating + found.staging + found.lost
        hours = f"{found.wall / 3600:,.1f} h | {found.network / 3600:,.1f} h"
        print(
            f"| {nodes} x {slots} | {line} Gbit/s | {shared} Gbit/s | {hours} "
            f"| {found.migrating / whole:.0%} | {found.staging / whole:.0%} | {found.lost / whole:.1%} |"
        )


if __name__ == "__main__":
    main()
