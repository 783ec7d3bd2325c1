"""Gradio starts without looking after its type stubs, and is otherwise as it was."""

from __future__ import annotations

import subprocess
import sys

ASK = """
import feedback.screens
import gradio as gr
from gradio import component_meta
print(component_meta.create_or_modify_pyi.__module__)
with gr.Blocks():
    button = gr.Button("Go")
    button.click(print)
print(len(button.EVENTS))
"""


def test_gradio_leaves_its_stubs_alone_and_components_keep_their_events() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    module, events = done.stdout.split()[-2:]
    assert module == "feedback.screens.quick_start"
    assert int(events) >= 1
