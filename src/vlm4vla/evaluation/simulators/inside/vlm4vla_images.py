"""What stands in place of an image in observations that no policy looks at.

A policy that executes k actions of a chunk uses every k-th image only. vla-eval writes every image of an
observation as a PNG, which took a third of MetaWorld's time when the last image was repeated.
"""

from __future__ import annotations

import numpy as np

NO_IMAGE = np.zeros((1, 1, 3), dtype=np.uint8)
"""One black pixel."""
