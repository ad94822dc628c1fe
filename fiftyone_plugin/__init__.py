"""Find, see and repair wrong labels of segmentation datasets in FiftyOne.

    from fiftyone_plugin import score_label_quality, quality

Jobs on a dataset are functions of this module; array-level scores are in `quality`, models in `models`. Nothing
heavy is imported until it is used: `__init__.pyi` says where each name lives.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
