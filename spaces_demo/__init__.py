"""The Gradio Space as it is uploaded. Installed as `dface_hf.spaces_demo`; this file stays behind."""
