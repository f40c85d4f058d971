"""What is measured beside the levels of load: calm, the price of a refusal, callers in a hurry, a flood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from loadtest import analysis, bodies, levels, loads, plan, traffic
from loadtest.analysis import Rows
from loadtest.answers import Outcome, native_answer
from loadtest.described import Described
from loadtest.levels import Bench, Figures
from loadtest.loads import Load
from loadtest.measuring import Measurement, measure
from loadtest.messages import Message, post
from loadtest.progress import say
from loadtest.schedules import Arrivals, Phase
from loadtest.traffic import Target

IDLE_RATE, IDLE_SECONDS = 10.0, 20.0
REFUSAL_SECONDS = 10.0
QUIET_SHARE = 0.3  # of the capacity, while another model is flooded
FLOOD_FACTOR = 3.0  # of what the flooded model holds


def idle(bench: Bench) -> Figures:
    """One request at a time, ten a second: medians, ms.

    outside: what of an answer is neither line nor batch: transfer, decoding, HTTP. added: what of it is
    neither decoding nor inference, which a bare predictor does too.
    """
    say("calm: one request at a time")
    phase = Phase("idle", IDLE_RATE, min(IDLE_SECONDS, bench.seconds))
    rows = _measured(bench, bench.messages, phase, Arrivals.UNIFORM).rows
    answered = rows.where(rows.of(Outcome.ANSWERED))
    server = answered.server
    p50 = partial(analysis.percentile_ms, percent=50.0)
    return {
        "response_ms_p50": p50(answered.response),
        "response_ms_p99": analysis.percentile_ms(answered.response, 99.0),
        "decode_ms_p50": p50(server["decode"]),
        "queue_ms_p50": p50(server["queue"]),
        "infer_ms_p50": p50(server["infer"]),
        "outside_ms_p50": p50(answered.response - server["queue"] - server["infer"]),
        "added_ms_p50": p50(answered.response - server["decode"] - server["infer"]),
    }


def refusal(bench: Bench, target: Target) -> Figures:
    """What callers cost who cannot be served, at the rate of its capacity: all want an answer within 1 ms.

    Most are refused; where nobody is in line, one is taken and run in vain. NaN unless nearly all are turned
    down, as by a network that is quicker than that.
    """
    say("what a refusal costs: callers who ask for an answer within 1 ms")
    send = partial(post, "hopeless", target.authority, target.path, headers={"X-Timeout-Ms": "1"})
    messages = [send(bodies.raw(image), native_answer) for image in target.images]
    phase = Phase("refusals", bench.capacity, min(REFUSAL_SECONDS, bench.seconds))
    repeat = _measured(bench, messages, phase, bench.arrivals)
    rows = repeat.rows
    turned_down = rows.where(rows.of(Outcome.REFUSED) | rows.of(Outcome.EXPIRED))
    share = len(turned_down.scheduled) / max(len(rows.scheduled), 1)
    cores = repeat.watched.cores(0.0, phase.seconds) if share >= analysis.HELD_SHARE else math.nan
    return {
        "turned_down_share": share,
        "cpu_ms": cores * 1000 / repeat.summary["offered_per_second"],
        "response_ms_p50": analysis.percentile_ms(turned_down.response, 50.0),
    }


def tight(bench: Bench, level: float, without: Figures, repeats: int) -> Figures:
    """A hundredth of the callers asks for 10 ms: what the others lose. ``without``: the level alone."""
    goodputs, on_time = [], []
    for seed in range(repeats):
        say(f"one in a hundred in a hurry, level {level:g}, {seed + 1} of {repeats}")
        rows = bench.loaded(bench.measure(level, seed).rows)
        goodputs.append(_share_in_time(_of_kind(rows, "native"), bench.target_seconds))
        on_time.append(_share_in_time(_of_kind(rows, "tight"), traffic.TIGHT_TIMEOUT_MS / 1000))
    return {
        "level": level,
        "others_in_time_share": median(goodputs),
        "without_share": without["goodput_share"],
        "lost_share": 1 - median(goodputs) / without["goodput_share"]
        if without["goodput_share"]
        else math.nan,
        "tight_in_time_share": median(on_time),
    }


def flood(bench: Bench, target: Target, flooded: Described, repeats: int) -> Figures:
    """One model quiet, alone and then while another is sent three times what it holds."""
    asked = plan.question(flooded)
    rate = FLOOD_FACTOR * plan.capacity(asked)
    others = traffic.native(replace(target, model=flooded.name))
    quiet_rate = QUIET_SHARE * bench.capacity
    alone = [_quiet(bench, quiet_rate, seed, []) for seed in range(repeats)]
    say(f"flood on {flooded.name}: {rate:.4g}/s")
    phase = [Phase("flood", rate, bench.seconds)]
    during = [
        _quiet(bench, quiet_rate, seed, [loads.of_phases(others, phase, bench.arrivals, seed=seed + 1000)])
        for seed in range(repeats)
    ]
    size = max(1, asked.latency.largest_within(flooded.latency_target_seconds, flooded.max_batch_size))
    return {
        "model": flooded.name,
        "flood_per_second": rate,
        "quiet_per_second": quiet_rate,
        "batch_ms": asked.latency.p99(size) * 1000,
        "alone": levels.middle(alone),
        "during": levels.middle(during),
    }


def _quiet(bench: Bench, rate: float, seed: int, flood: Sequence[Load]) -> Figures:
    """What the quiet callers see."""
    own = loads.of_phases(
        _of(bench.messages, "quiet"), [Phase("quiet", rate, bench.seconds)], bench.arrivals, seed=seed
    )
    repeat = measure(bench.url, loads.merged([own, *flood]), bench.target_seconds)
    rows = _of_kind(repeat.rows, "quiet")
    return dict(analysis.summarise(rows, bench.seconds, bench.target_seconds))


def _of(messages: Sequence[Message], kind: str) -> list[Message]:
    return [replace(message, kind=kind) for message in messages]


def _measured(bench: Bench, messages: Sequence[Message], phase: Phase, arrivals: Arrivals) -> Measurement:
    return measure(bench.url, loads.of_phases(messages, [phase], arrivals), bench.target_seconds)


def _of_kind(rows: Rows, kind: str) -> Rows:
    return rows.where(np.equal(rows.kind, kind))


def _share_in_time(rows: Rows, seconds: float) -> float:
    on_time = np.count_nonzero(rows.response[rows.of(Outcome.ANSWERED)] <= seconds)
    return float(on_time / max(len(rows.scheduled), 1))
