"""The documentation site, built by ``make docs``.

The source folder is the repository, so links between its files hold on the site as well.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lit_curriculum import __version__  # noqa: E402

project = "lit_curriculum"
copyright = "the lit_curriculum authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.site_extension",
]
root_doc = "docs/index"
include_patterns = ["README.md", "docs/**", "configs/README.md", "experiments/LOG.md", "experiments/*/README.md"]
include_patterns += ["results/README.md", "results/*/README.md", "results/baselines/ranking.md"]
exclude_patterns = [".*", "**/.*", "site", "runs", "build", "dist", "tests", "lit_curriculum", "docs/_*"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# With --fail-on-warning: a name that is none, a page that no menu holds, a link to a file that is gone.
nitpicky = True
# Imported for type checkers alone.
_FOR_TYPES = ("DeviceMesh", "Path", "PreTrainedModel", "PreTrainedTokenizerBase", "PretrainedConfig")
nitpick_ignore = [("py:class", name) for name in _FOR_TYPES] + [("py:exc", "MisconfigurationException")]
keep_warnings = True

# An override without a docstring is documented where it was declared.
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
add_module_names = False
python_maximum_signature_line_length = 140
python_trailing_comma_in_multi_line_signatures = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "furo"
html_static_path = ["_static", str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf")]
html_css_files = ["site.css"]
html_title = "lit_curriculum"
html_extra_path = ["_root"]
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True}
