"""The checks: each reads columns and answers with a share, its interval and what to do."""

from __future__ import annotations

from typing import Protocol

from feedback.checks.agreement import agreement
from feedback.checks.columns import Columns
from feedback.checks.duplicates import duplicate_prompts, duplicate_responses
from feedback.checks.length_bias import length_bias
from feedback.checks.result import CheckResult, Finding


class Check(Protocol):
    def __call__(self, columns: Columns, *, threshold: float = ...) -> CheckResult: ...


CHECKS: dict[str, Check] = {
    "length_bias": length_bias,
    "agreement": agreement,
    "duplicate_prompts": duplicate_prompts,
    "duplicate_responses": duplicate_responses,
}

__all__ = ["CHECKS", "Check", "CheckResult", "Columns", "Finding"]
