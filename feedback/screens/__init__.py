"""The screens of a labeler and of the lead's view of the feedback. Gradio lives here.

Gradio reads its analytics switch when it is imported, so it is turned off before any screen can
import it: the app asks nothing from outside.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
