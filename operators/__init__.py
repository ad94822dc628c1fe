"""One file per operator: a form and one call into the workflows."""

from .delete_label_quality_run import DeleteLabelQualityRun
from .inject_label_errors import InjectLabelErrors
from .score_label_quality import ScoreLabelQuality
from .train_cross_validated import TrainCrossValidated

OPERATORS = (ScoreLabelQuality, TrainCrossValidated, InjectLabelErrors, DeleteLabelQualityRun)
