"""Kill every job hundreds of times, and say how often what was left differs from what an undisturbed job leaves.

python benchmarks/faults.py --kills 500 --seed 0

With `--database-kills`, MongoDB is killed instead, while somebody answers:

python benchmarks/faults.py --database-kills 40 --seed 0
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.isolation import isolated_environment
from demo.mongod import running_database


def main() -> int:
    """Run the kills; the exit status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further kill after them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="*", help="only these")
    parser.add_argument("--database-kills", type=int, default=0, help="kill MongoDB that often, and no job")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder,
        running_database(isolated_environment(folder)) as environment,
    ):
        os.environ.clear()
        os.environ.update(environment)
        if options.database_kills:
            return kill_mongod(options.database_kills, options.seed, Path(folder))
        return kill_all(options.kills, options.minutes, options.seed, options.jobs)


def kill_all(kills: int, minutes: float, seed: int, jobs: list[str] | None) -> int:
    """Kill jobs in turn.

    Returns:
        1 if anything was wrong, else 0
    """
    from tests.faults.harness import JOBS, Experiments

    names, started = jobs or list(JOBS), time.monotonic()
    experiments, rng = Experiments(), random.Random(seed)
    done, died, wrong = Counter(), Counter(), Counter()
    for number in range(kills):
        if time.monotonic() - started > 60 * minutes:
            break
        outcome = experiments.kill(names[number % len(names)], rng)
        done[outcome.job] += 1
        died[outcome.job] += outcome.killed
        wrong[outcome.job] += bool(outcome.problems)
        for problem in outcome.problems:
            print(f"WRONG {outcome.job}, killed at {outcome.how}, {outcome.after}: {problem}", flush=True)
    for name in names:
        print(f"{name:14} {done[name]:4} tried, {died[name]:4} died in the middle, {wrong[name]:3} wrong")
    print(
        f"{sum(done.values())} tried, {sum(died.values())} died in the middle, {sum(wrong.values())} wrong; "
        f"seed {seed}, {time.monotonic() - started:.0f} s"
    )
    return int(sum(wrong.values()) > 0)


def kill_mongod(kills: int, seed: int, folder: Path) -> int:
    """Kill MongoDB while somebody answers.

    Returns:
        1 if anything was wrong, else 0
    """
    from tests.faults.database_kills import kill_database

    started = time.monotonic()
    (folder / "killed").mkdir()
    found = kill_database(kills, random.Random(seed), folder / "killed")
    for problem in found.problems:
        print(f"WRONG {problem}", flush=True)
    print(
        f"MongoDB killed {found.killed} times: {len(found.acknowledged)} answers acknowledged, {len(found.lost)} lost, "
        f"{found.refused} refused in words, {len(found.problems)} other problems; seed {seed}, "
        f"{time.monotonic() - started:.0f} s"
    )
    return int(bool(found.lost or found.problems) or found.killed < kills)


if __name__ == "__main__":
    sys.exit(main())
