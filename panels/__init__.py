"""What a person looks at and clicks: one file per panel, its charts and its words."""

from .label_changes import LabelChangesPanel
from .label_correction import LabelCorrectionPanel
from .label_quality import LabelQualityPanel
from .learning_curves import LearningCurvesPanel

PANELS = (LabelQualityPanel, LearningCurvesPanel, LabelCorrectionPanel, LabelChangesPanel)
