"""One file per operator: a form and one call into the workflows."""

from .accept_in_bulk import AcceptInBulk
from .accept_label_issues import AcceptLabelIssues
from .apply_corrections import ApplyCorrections
from .apply_label_proposals import ApplyLabelProposals
from .causes import FindCauses, RepairCause
from .check_labels import CheckLabels
from .clean_labels import CleanLabels, UndoCleanLabels
from .compute_superpixels import ComputeSuperpixels
from .delete_label_quality_run import DeleteLabelQualityRun
from .export_corrected_labels import ExportCorrectedLabels
from .export_label_issues import ExportLabelIssues
from .find_label_errors import FindLabelErrors
from .generate_pseudo_labels import GeneratePseudoLabels
from .hand_edits import BeginHandEdits, FinishHandEdits
from .inject_label_errors import InjectLabelErrors
from .label_quality_metric import LabelQualityMetric
from .label_quality_report import LabelQualityReport
from .label_quality_status import LabelQualityStatus
from .plan_correction_queries import PlanCorrectionQueries, UndoRelabelled
from .precompute_sam_embeddings import PrecomputeSamEmbeddings
from .reject_label_issues import RejectLabelIssues
from .rescore_label_issues import RescoreLabelIssues
from .reviewers import CompareReviewers, ShowSecondLook
from .score_label_quality import ScoreLabelQuality
from .show_label_issues import ShowLabelIssues
from .start_correction_round import StartCorrectionRound
from .stop_label_quality_job import StopLabelQualityJob
from .train_cross_validated import TrainCrossValidated
from .train_noise_robust import TrainNoiseRobust
from .worth import CompareModels, RepairsWorth

OPERATORS = (
    FindLabelErrors,
    LabelQualityStatus,
    CheckLabels,
    CleanLabels,
    UndoCleanLabels,
    ScoreLabelQuality,
    ShowLabelIssues,
    AcceptLabelIssues,
    RejectLabelIssues,
    AcceptInBulk,
    CompareReviewers,
    ShowSecondLook,
    FindCauses,
    RepairCause,
    RescoreLabelIssues,
    PlanCorrectionQueries,
    UndoRelabelled,
    ApplyCorrections,
    StartCorrectionRound,
    ComputeSuperpixels,
    GeneratePseudoLabels,
    PrecomputeSamEmbeddings,
    ApplyLabelProposals,
    BeginHandEdits,
    FinishHandEdits,
    ExportCorrectedLabels,
    LabelQualityReport,
    ExportLabelIssues,
    RepairsWorth,
    CompareModels,
    TrainCrossValidated,
    TrainNoiseRobust,
    InjectLabelErrors,
    StopLabelQualityJob,
    DeleteLabelQualityRun,
    LabelQualityMetric,
)
