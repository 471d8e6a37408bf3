"""Any command and configuration on the fake accelerator of ``fake_accelerator.py``, to see that they run there.

    PYTHONPATH=tests/models python tests/models/fake_accelerator_cli.py fit --config configs/base.yaml \\
        --config configs/model/tiny.yaml --config configs/data/abilities.yaml \\
        --config configs/curriculum/iterit_demo.yaml --config configs/quickstart.yaml \\
        --trainer.max_epochs 2 --data.init_args.num_train 200

After the command it prints how often the device was waited for. ``score`` wants ``--trainer.inference_mode false``:
under inference mode PyTorch does not take parameters of such a device.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import fake_accelerator

from lit_curriculum.cli import main

_LAYER = """\
trainer:
  accelerator: {class_path: fake_accelerator_training.FakeAccelerator}
  strategy: {class_path: fake_accelerator_training.FakeStrategy}
"""

if __name__ == "__main__":
    fake_accelerator.set_up()
    with tempfile.TemporaryDirectory() as folder, fake_accelerator.FakeDeviceMode():
        layer = Path(folder) / "far.yaml"
        layer.write_text(_LAYER, encoding="utf-8")
        main([*sys.argv[1:], "--config", str(layer)])
    print(dict(fake_accelerator.waits.most_common()))
