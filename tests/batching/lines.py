"""One line or several in front of one device: `python -m tests.batching.lines`. A simulation, in Markdown.

Several HTTP processes can each keep a line of their own and take turns at the device, or hand their requests
to one line in one process. The curves are assumptions; the policy is the one that serves.
"""

from batching.policy import BatchPolicy
from batching.simulate import simulate
from loadtest import plan
from loadtest.analysis import Summary
from tests.batching.world import BatchSeconds, affine, learnt, poisson

SECONDS_SIMULATED = 10.0
LINES = (1, 2, 4, 8)
DEVICES: tuple[tuple[str, BatchSeconds, BatchPolicy], ...] = (
    ("2 ms and 0.05 ms an image, 128 at most, target 50 ms", affine(0.002, 0.00005), BatchPolicy(0.05, 128)),
    ("1 ms and 0.2 ms an image, 64 at most, target 50 ms", affine(0.001, 0.0002), BatchPolicy(0.05, 64)),
    ("0.5 ms and 1.6 ms an image, 32 at most, target 100 ms", affine(0.0005, 0.0016), BatchPolicy(0.1, 32)),
)


def forecast(seconds: BatchSeconds, policy: BatchPolicy, rate: float, lines: int) -> Summary:
    """Of Poisson arrivals at ``rate``, spread evenly over so many lines."""
    load = poisson(rate, SECONDS_SIMULATED, seed=1)
    one = simulate(load, policy, learnt(seconds), batch_seconds=seconds, lines=lines)
    return plan.figures(one, SECONDS_SIMULATED, policy.latency_target_seconds)


def main() -> None:
    for name, seconds, policy in DEVICES:
        capacity = policy.max_batch_size / seconds(policy.max_batch_size)
        print(f"\n{name}: {capacity:,.0f} images/s\n")
        print("| load | lines | goodput/s | p50 ms | p99 ms | mean batch | refused |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for load in (0.3, 0.6, 0.9, 1.5):
            for lines in LINES:
                one = forecast(seconds, policy, load * capacity, lines)
                cells = [
                    f"{load} x",
                    str(lines),
                    f"{one['goodput_per_second']:,.0f}",
                    f"{one['response_ms_p50']:.1f}",
                    f"{one['response_ms_p99']:.1f}",
                    f"{one['batch_size_mean']:.1f}",
                    f"{one['unserved_share']:.1%}",
                ]
                print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
