"""Card templates. Installed as `dface_hf.hub_cards` and read through importlib.resources."""
