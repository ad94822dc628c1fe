"""One file per operator: a form and one call into the workflows."""

from .accept_label_issues import AcceptLabelIssues
from .delete_label_quality_run import DeleteLabelQualityRun
from .inject_label_errors import InjectLabelErrors
from .label_quality_metric import LabelQualityMetric
from .reject_label_issues import RejectLabelIssues
from .rescore_label_issues import RescoreLabelIssues
from .score_label_quality import ScoreLabelQuality
from .show_label_issues import ShowLabelIssues
from .train_cross_validated import TrainCrossValidated
from .train_noise_robust import TrainNoiseRobust

OPERATORS = (
    ScoreLabelQuality,
    ShowLabelIssues,
    AcceptLabelIssues,
    RejectLabelIssues,
    RescoreLabelIssues,
    TrainCrossValidated,
    TrainNoiseRobust,
    InjectLabelErrors,
    DeleteLabelQualityRun,
    LabelQualityMetric,
)
