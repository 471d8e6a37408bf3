"""Curriculum instruction tuning of causal language models on PyTorch Lightning.

The public names are those of ``__init__.pyi``. Each is imported on first use, so importing the package, or one policy,
loads neither torch nor what other classes need.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
