"""Weights in safetensors files."""

from __future__ import annotations

import pytest
import torch
from checkpoints import NET, STATE, Tied, equal, network, prefixed
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import SzilardError, file
from szilard.model import safetensors_file, stored
from szilard.model.saved_network import load_state, plain_state


class TestSafetensors:
    def test_files_of_the_safetensors_library(self, tmp_path):
        from safetensors.torch import save_file

        save_file(prefixed(STATE, "model."), tmp_path / "net.safetensors", {"format": "pt", "by": "someone"})
        other = network(1)
        found = plain_state(tmp_path / "net.safetensors")
        assert (
            load_state(tmp_path / "net.safetensors", other, found).note
            == "weights without the prefix 'model.'"
        )
        assert equal(other, NET)
        assert found.metadata == {"format": "pt", "by": "someone"}

    def test_tied_tensors_that_the_library_omits(self, tmp_path):
        from safetensors.torch import save_model

        one, other = Tied(), Tied()
        save_model(one, str(tmp_path / "net.safetensors"))
        load_state(tmp_path / "net.safetensors", other, plain_state(tmp_path / "net.safetensors"))
        assert torch.equal(other.embed.weight, one.embed.weight)

    def test_every_type(self, tmp_path):
        from safetensors.torch import load_file

        kinds = [name for name in file.dtypes.BY_NAME if name != "complex128"]
        state = {}
        for name in kinds:
            data = torch.arange(96, dtype=torch.uint8).reshape(2, 48)
            state[name] = (data % 2).bool() if name == "bool" else data.view(getattr(torch, name))
        state |= {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 3)}
        (tmp_path / "a.safetensors").write_bytes(safetensors_file.dumps(state, {"a": "b"}))
        tensors, metadata = safetensors_file.load(tmp_path / "a.safetensors")
        assert metadata == {"a": "b"}
        for name, value in state.items():
            assert tensors[name].dtype == value.dtype
            assert tensors[name].shape == value.shape
            assert (
                tensors[name].flatten().view(torch.uint8).tolist()
                == value.flatten().view(torch.uint8).tolist()
            )
        theirs = load_file(tmp_path / "a.safetensors")
        assert torch.equal(theirs["float32"], state["float32"])
        with pytest.raises(SzilardError, match="cannot hold x, which is complex128"):
            safetensors_file.dumps({"x": torch.zeros(2, dtype=torch.complex128)}, {})

    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_damaged_bytes(self, tmp_path_factory, data):
        good = bytearray(
            safetensors_file.dumps({"a": torch.ones(3, 2), "b": torch.tensor([True])}, {"x": "y"})
        )
        for _ in range(data.draw(st.integers(1, 3))):
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
        good = good[: data.draw(st.integers(0, len(good)) | st.just(len(good)))]
        path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
        path.write_bytes(good)
        try:
            found = stored.read(path)
        except SzilardError:
            return
        assert sum(v.numel() * v.element_size() for v in found.groups.get("", {}).values()) <= len(good)
