"""Files with one fault: every reading function gives the same error or the bits of the reference reader.

The mutations are those of ``benchmarks/faults.py``, which tries many more in separate processes.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
import szd_reference

from robustness import codec, hostile_networks, hostile_szd, mutate, network_seeds
from szilard import file

RESULTS = ("wrong_exceptions", "wrong_values", "code_run")  # memory and time depend on the machine


def wrong(found: list[hostile_szd.Fault]) -> list[hostile_szd.Fault]:
    return [fault for fault in found if fault[0] in RESULTS]


def test_seeds_are_valid_files_of_every_kind_type_and_coding():
    records = [record for draft in hostile_szd.seeds() for record in draft.records]
    assert {record.kind for record in records} == set(range(8))
    assert {record.code for record in records} == set(range(21))
    assert {record.coding for record in records if record.kind == codec.LEVELS} == {*range(9), 10, 12, 14}
    for data in hostile_szd.seed_files():
        found = szd_reference.decode(szd_reference.tables(data))
        assert found.content == data[-24:-8]
        assert list(file.arrays(file.loads(data))) == list(found.tensors)


def test_a_file_is_read_and_written_unchanged():
    for data in hostile_szd.seed_files():
        assert codec.write(codec.read(data)) == data or codec.read(
            codec.write(codec.read(data))
        ) == codec.read(data)


def test_the_same_number_gives_the_same_file():
    assert hostile_szd.mutant("szd-deep", 3) == hostile_szd.mutant("szd-deep", 3)
    assert len({hostile_szd.mutant("szd-deep", number) for number in range(50)}) > 45


def test_deep_mutations_open_or_are_refused_as_documented(tmp_path):
    reasons: Counter[str] = Counter()
    for number in range(250):
        data = hostile_szd.mutant("szd-deep", number)
        reasons[hostile_szd.expected(data).refused] += 1
        assert not wrong(hostile_szd.check(data, tmp_path)), number
    # Many mutants open, and the others are refused for many different reasons.
    assert reasons[""] > 60
    assert len(reasons) > 25


def test_shallow_mutations(tmp_path):
    for number in range(200):
        data = hostile_szd.mutant("szd-shallow", number)
        assert not wrong(hostile_szd.check(data, tmp_path, all_functions=False)), number


def test_streams_are_adapted_to_the_tables():
    more, fitted = random.Random(0), 0
    for number in range(50):
        draft = codec.Draft(
            [
                codec.Record(b"m", codec.MASK, shape=[3 + number % 5, 7]),
                codec.Record(b"w", codec.LEVELS, shape=[9]),
            ]
        )
        content = codec.fit_streams(draft, more)
        if content is None:  # the random bytes hold a level that is too large
            continue
        fitted += 1
        found = szd_reference.decode(szd_reference.tables(codec.write(draft)))
        assert found.content == content
        assert len(found.tensors) == 3
    assert fitted > 40


@pytest.mark.slow
def test_a_hundred_thousand_deep_mutations(tmp_path):
    for number in range(100_000):
        data = hostile_szd.mutant("szd-deep", number)
        assert not wrong(hostile_szd.check(data, tmp_path, all_functions=False)), number


@pytest.mark.slow
def test_saved_networks_with_odd_metadata(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    network_seeds.make_seeds(tmp_path / "seeds")
    traps = tmp_path / "bait"
    network_seeds.lay_bait(traps)
    monkeypatch.chdir(traps)
    for family in ("meta", "pt"):
        for number in range(1000):
            name, data = hostile_networks.mutant(family, number, tmp_path / "seeds", traps)
            found = hostile_networks.check(name, data, tmp_path, traps, commands=number % 50 == 0)
            assert not wrong(found), (family, number)


def test_odd_tables_are_damaged_before_deflation():
    more = random.Random(1)
    draft = hostile_szd.seeds()[1]
    found = {mutate.odd_tables(draft, more) for _ in range(20)}
    assert len(found) > 15
    assert all(data[:4] == b"SZD1" for data in found)
