"""The screens of a labeler and of the lead's view of the feedback. Gradio lives here.

Gradio reads its analytics switch when it is imported, so it is turned off before any screen can
import it: the app asks nothing from outside. For the same reason its import is made quick here.
"""

import os

from feedback.screens.quick_start import without_stubs

without_stubs()
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
