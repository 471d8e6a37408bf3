"""``python -m lit_curriculum`` is ``lit-curriculum``."""

import sys

from lit_curriculum.cli import main

if __name__ == "__main__":
    sys.exit(main())
