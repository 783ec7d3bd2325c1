"""Personal data in prompts and answers: to be seen before an export and before training."""

from __future__ import annotations

import numpy as np

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, measured, nothing, part, share_text
from feedback.checks.said import answers, different, different_ids, places_of, values
from feedback.personal import KINDS, WORDS

NAME = "personal_data"
# Choice: one person's data in an exported file or in a model's weights is one too many.
THRESHOLD = 0.0  # share of different texts

REMEDY = (
    "Look at these texts before an export and before training: leave them out, or replace the data "
    "in the source and import it anew. A model can repeat what it was trained on."
)


def personal_data(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of different prompts and answers with personal data, and each kind's."""
    given = columns.once(answers)
    size = len(columns.features)
    text = np.concatenate([given.text, places_of(columns.features, columns.prompts["text"])])
    item = np.concatenate([given.response, np.asarray(columns.prompts["prompt"], dtype=object)])
    n = different(text, size)
    if not n:
        return nothing(NAME, "There is no text to look at yet.", "Add prompts and answers.")
    has = {kind: values(columns.features, kind, text) > 0 for kind in KINDS}
    hit = np.logical_or.reduce(list(has.values()))
    hits = different(text[hit], size)
    severity = "warn" if hits / n > threshold else "ok"
    findings = []
    for kind in KINDS:
        if count := different(text[has[kind]], size):
            message = f"{share_text(count, n, 'different texts')} hold {WORDS[kind]}."
            items = different_ids(item[has[kind]])
            findings.append(part(kind, count, n, severity, message, REMEDY, items))
    message = f"{share_text(hits, n, 'different prompts and answers')} hold personal data."
    clean = (
        f"No mail address, phone number, card number or internet address in {n:,} different "
        "prompts and answers; names and postal addresses are not looked for."
    )
    told = message if hits else clean
    return measured(
        NAME, hits, n, severity, told, REMEDY, different_ids(item[hit]), tuple(findings)
    )
