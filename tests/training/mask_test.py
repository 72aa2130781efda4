"""The mask that training uses is structure.visible(), in every mode, without PyTorch.

model.py wants a rule of tensors, which create_block_mask() calls. Arrays of NumPy can stand for them once the
modules it imports are stood in for."""
import pathlib
import sys
import types
import unittest
from unittest import mock

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import structure  # noqa: E402
from adapter_test import LABELS  # noqa: E402


class Tensor(np.ndarray):
    device = None

    def abs(self):
        return np.abs(self)

    def unbind(self, axis):
        return [part.view(Tensor) for part in np.moveaxis(self, axis, 0)]


def stand_ins():
    """{module name: what model.py takes from it when it is imported and when it makes a mask}."""
    names = ("torch", "torch.nn", "torch.nn.functional", "torch.nn.attention", "torch.nn.attention.flex_attention")
    made = {name: types.ModuleType(name) for name in names}
    torch, nn = made["torch"], made["torch.nn"]
    nn.Module, nn.functional, torch.nn = object, made["torch.nn.functional"], nn
    torch.tensor = lambda value, device: np.int64(value)
    torch.where = np.where
    torch.no_grad = lambda: lambda function: function
    made["torch.nn.attention.flex_attention"].create_block_mask = None
    made["torch.nn.attention.flex_attention"].flex_attention = None
    return made


class MaskTest(unittest.TestCase):
    def test_every_mode(self):
        with mock.patch.dict(sys.modules, stand_ins()):
            sys.modules.pop("model", None)
            import model
            self.addCleanup(sys.modules.pop, "model", None)
            n, window, sinks, scope_window = len(LABELS), 2, 1, 5
            everything = structure.Rule(reach=structure.OTHER)
            want = {
                model.OFF: everything, model.EMPHASIS: everything,
                model.PRUNE: structure.Rule(window, sinks, structure.ANCESTOR, scope_window),
                model.OWN: structure.Rule(window, sinks, structure.SAME, scope_window),
                model.WINDOW: structure.Rule(window, sinks, -1)}
            coder = object.__new__(model.Coder)
            coder.config = model.Config(window=window, sinks=sinks, scope_window=scope_window)
            coder.rules, coder.blk = {}, [types.SimpleNamespace(mode=mode) for mode in want]
            at = np.arange(n)
            batch = {"doc": np.zeros((1, n), int).view(Tensor), "index": at[None].view(Tensor),
                     "labels": np.asarray(LABELS)[None].view(Tensor)}
            made = coder.masks(batch, lambda rule, *shape, device: rule(0, 0, at[:, None], at[None]))
            for mode, rule in want.items():
                np.testing.assert_array_equal(made[mode], structure.visible(np.asarray(LABELS), at, at, rule), str(mode))
            self.assertLess(made[model.OWN].sum(), made[model.PRUNE].sum())
            self.assertLess(made[model.PRUNE].sum(), made[model.OFF].sum())


if __name__ == "__main__":
    unittest.main()
