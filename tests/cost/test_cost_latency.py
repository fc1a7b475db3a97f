"""Latency by a clock that the tests move: known durations come out, and a noisy machine is refused."""

from __future__ import annotations

import pytest
import torch
from fake_clock import FakeClock
from torch import nn

from szilard.cost import clock as clocks
from szilard.cost.latency import latencies, latency
from szilard.cost.machine_noise import reference_loop
from szilard.cost.runtime import plain_pytorch
from szilard.errors import SzilardError


@pytest.fixture
def clock():
    return FakeClock()


def test_known_durations(clock):
    found = latencies(
        {"slow": clock.taking(2**-8), "fast": clock.taking(2**-10)},  # sums of such floats are exact
        clock=clock, reference=clock.taking(2**-11), budget=1.0, turn=2**-6,
    )  # fmt: skip
    assert list(found) == ["slow", "fast"]
    assert (found["slow"].median, found["slow"].p10, found["slow"].p90) == (2**-8,) * 3
    assert found["fast"].median == 2**-10
    assert found["fast"].noise.quiet
    assert (found["fast"].noise.spread, found["fast"].noise.share) == (1.0, 1.0)
    assert found["fast"].calls_per_reading == 1
    assert (found["fast"].threads, found["fast"].readings) == (1, 4 * found["slow"].readings)


def test_percentiles_are_over_calls(clock):
    found = latency(
        clock.taking(*[0.001] * 8, 0.002, 0.002),
        clock=clock,
        reference=clock.taking(0.0005),
        turn=0.06,
        warm_up=0.0,
    )
    assert (found.median, found.p10, found.p90) == pytest.approx((0.001, 0.001, 0.002))


def test_short_calls_are_timed_several_at_a_time(clock):
    found = latency(clock.taking(2**-19), clock=clock, reference=clock.taking(2**-11), budget=0.5)
    assert found.calls_per_reading == 27  # 50 microseconds and more
    assert found.median == 2**-19


def test_the_median_is_of_the_slowest_when_it_is_long(clock):
    found = latency(clock.taking(3.0), clock=clock, reference=clock.taking(0.0005), least_rounds=4)
    assert (found.median, found.readings) == (pytest.approx(3.0), 4)


def test_a_process_without_a_processor_is_refused(clock):
    with pytest.raises(SzilardError, match="had a processor for 40 % of the time"):
        latency(clock.taking(0.001, share=0.4), clock=clock, reference=clock.taking(0.0005))
    with pytest.raises(SzilardError, match="stop other programs and measure again, or use noisy=True"):
        latency(clock.taking(0.001), clock=clock, reference=clock.taking(0.0005, share=0.5))


def test_a_reference_that_varies_is_refused(clock):
    calls = 0

    def reference():  # every third turn of 20 calls takes twice as long
        nonlocal calls
        clock.spend(0.002 if calls // 20 % 3 == 0 else 0.001)
        calls += 1

    with pytest.raises(
        SzilardError, match=r"a loop of fixed work varied \S+-fold \(at most 1.25-fold is accepted\)"
    ):
        latency(clock.taking(0.001), clock=clock, reference=reference)
    assert latency(clock.taking(0.001), clock=clock, reference=reference, spread=2.5).noise.quiet


def test_noise_is_told_where_it_is_accepted(clock):
    found = latency(clock.taking(0.001, share=0.4), clock=clock, reference=clock.taking(0.0005), noisy=True)
    assert found.median == pytest.approx(0.001)
    assert not found.noise.quiet
    assert found.noise.share == pytest.approx(0.4)
    assert found.noise.text == "the process had a processor for 40 % of the time (at least 90 % is needed)"


def test_functions_that_wait_need_no_processor(clock):
    waiting = clock.taking(0.001, share=0.05)
    assert latency(waiting, clock=clock, reference=clock.taking(0.0005), waits=True).noise.quiet
    with pytest.raises(SzilardError, match="had a processor for 50 %"):
        latency(waiting, clock=clock, reference=clock.taking(0.0005, share=0.5), waits=True)


def test_the_clock_of_the_module_is_read(clock, monkeypatch):
    monkeypatch.setattr(clocks, "CLOCK", clock)
    assert latency(clock.taking(0.25), reference=clock.taking(0.0005)).median == pytest.approx(0.25)


def test_threads_are_set_and_restored(clock):
    before, seen = torch.get_num_threads(), []

    def run():
        seen.append(torch.get_num_threads())
        clock.spend(0.001)

    assert latency(run, clock=clock, reference=clock.taking(0.0005), threads=2).threads == 2
    assert set(seen) == {2}
    assert torch.get_num_threads() == before

    def fails():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        latency(fails, clock=clock, reference=clock.taking(0.0005), threads=2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"threads": 0}, "threads must be at least 1"),
        ({"least_rounds": 1}, "least_rounds must be at least 2"),
        ({"budget": -1.0}, "budget and turn are seconds"),
        ({"turn": float("nan")}, "budget and turn are seconds"),
    ],
)
def test_arguments_out_of_range(clock, arguments, sentence):
    with pytest.raises(SzilardError, match=sentence):
        latency(clock.taking(0.001), clock=clock, **arguments)
    with pytest.raises(SzilardError, match="there is no function to measure"):
        latencies({}, clock=clock)


def test_the_reference_is_the_same_work_each_time():
    run = reference_loop()
    assert torch.equal(run(), torch.full((192, 192), 192.0))
    assert run() is run()


def test_plain_pytorch_runs_the_network_without_changing_it():
    network = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)).train()
    seen = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], module.training)))
    found = plain_pytorch(network, (3,), batch=5)
    output = found.run()
    assert found.label == f"plain PyTorch {torch.__version__.partition('+')[0]}"
    assert not found.waits
    assert output.shape == (5, 4)
    assert not output.requires_grad
    assert network.training
    assert all(x.shape == (5, 3) and not training for x, training in seen)
    examples = torch.randn(7, 3)
    given = plain_pytorch(network.eval(), examples, batch=2)
    assert torch.allclose(given.run(), network(examples[:1]).detach().expand(2, 4))
    assert seen[-2][0].is_contiguous()  # the input of that run, before the network's own call
    with pytest.raises(SzilardError, match="does not run on an input of shape"):
        plain_pytorch(network, (4,))
