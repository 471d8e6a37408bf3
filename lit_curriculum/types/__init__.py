"""The words that the layers share: what an example is, what a model is asked, what a stage trains on.

Shape letters used in the package: ``N`` examples in the data, ``B`` rows in a batch, ``L`` tokens in a row,
``S`` scored tokens of a batch, ``M`` examples in a stage's plan.
"""

from lit_curriculum.types.examples import (
    CONDITIONED,
    NO_ABILITY,
    UNCONDITIONED,
    WHOLE,
    BoolArray,
    EncodedView,
    Example,
    ExampleStore,
    FloatArray,
    IntArray,
    Message,
    Role,
    Subset,
    ability_names,
    join_turns,
)
from lit_curriculum.types.models import (
    Batch,
    GenerativeModel,
    GradientModel,
    LanguageModel,
    PooledModel,
    TokenNLL,
)
from lit_curriculum.types.plans import (
    Plan,
    make_generator,
)

__all__ = [
    "CONDITIONED",
    "NO_ABILITY",
    "UNCONDITIONED",
    "WHOLE",
    "BoolArray",
    "EncodedView",
    "Example",
    "ExampleStore",
    "FloatArray",
    "IntArray",
    "Message",
    "Role",
    "Batch",
    "GenerativeModel",
    "GradientModel",
    "LanguageModel",
    "PooledModel",
    "TokenNLL",
    "Plan",
    "Subset",
    "ability_names",
    "make_generator",
    "join_turns",
]
