"""The checks: each reads columns and answers with a share, its interval and what to do."""

from __future__ import annotations

from typing import Protocol

from feedback.checks.agreement import agreement
from feedback.checks.columns import Columns
from feedback.checks.distribution import distribution
from feedback.checks.duplicate_votes import duplicate_votes
from feedback.checks.duplicates import duplicate_prompts, duplicate_responses
from feedback.checks.identity_leak import identity_leak
from feedback.checks.imbalance import imbalance
from feedback.checks.labeler_quality import labeler_quality
from feedback.checks.length_bias import length_bias
from feedback.checks.personal_data import personal_data
from feedback.checks.position_bias import position_bias
from feedback.checks.result import CheckResult, Finding
from feedback.checks.style import style
from feedback.checks.too_easy import too_easy


class Check(Protocol):
    def __call__(self, columns: Columns, *, threshold: float = ...) -> CheckResult: ...


CHECKS: dict[str, Check] = {
    "length_bias": length_bias,
    "position_bias": position_bias,
    "labeler_quality": labeler_quality,
    "agreement": agreement,
    "duplicate_prompts": duplicate_prompts,
    "duplicate_responses": duplicate_responses,
    "duplicate_votes": duplicate_votes,
    "imbalance": imbalance,
    "too_easy": too_easy,
    "distribution": distribution,
    "style": style,
    "identity_leak": identity_leak,
    "personal_data": personal_data,
}

__all__ = ["CHECKS", "Check", "CheckResult", "Columns", "Finding"]
