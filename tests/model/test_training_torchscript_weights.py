"""Weights in TorchScript files."""

from __future__ import annotations

import pytest
import torch
from checkpoints import NET, equal, network
from torch import nn

from szilard import SzilardError
from szilard.model.saved_network import load_state, plain_state


class TestTorchScript:
    def archive(self, tmp_path, module):
        torch.jit.save(module, tmp_path / "net.jit")
        return plain_state(tmp_path / "net.jit")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_weights_are_read_and_no_code_is_run(self, tmp_path):
        for module in (torch.jit.script(NET), torch.jit.trace(NET, torch.zeros(2, 6))):
            other = network(1)
            load_state(tmp_path / "net.jit", other, self.archive(tmp_path, module))
            assert equal(other, NET)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_other_tensors_are_left_out_and_a_larger_network_is_refused(self, tmp_path):
        class Remembers(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(2, 2)
                self.register_buffer("seen", torch.ones(3))
                self.state = torch.zeros(4)

            def forward(self, x):
                return self.layer(x) + self.state.sum() + self.seen.sum()

        one = Remembers()
        found = self.archive(tmp_path, torch.jit.trace(one, torch.zeros(1, 2)))
        assert set(found.groups[""]) >= set(one.state_dict())
        found = self.archive(tmp_path, torch.jit.script(one))
        assert list(found.groups[""]) == list(torch.jit.load(tmp_path / "net.jit").state_dict())
        with pytest.raises(SzilardError, match="it has seen, which this network does not have"):
            load_state(tmp_path / "net.jit", nn.ModuleDict({"layer": nn.Linear(2, 2)}), found)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_frozen_modules_are_refused(self, tmp_path):
        found = self.archive(tmp_path, torch.jit.freeze(torch.jit.script(NET)))
        with pytest.raises(SzilardError, match="frozen"):
            found.group(None)
