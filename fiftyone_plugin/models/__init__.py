"""Where probabilities come from: any segmenter, probabilities on disk, cross-validated and noise-robust training.

Importing this room imports no deep-learning library; each name below loads what it needs when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
