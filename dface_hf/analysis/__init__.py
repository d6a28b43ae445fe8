"""What a model has learned, and what it found in a clip: probes, figures, overlay video and report page.

Modules are imported when something of theirs is asked for: explaining an event needs neither matplotlib nor
scikit-learn, which take seconds to import.
"""

from importlib import import_module

_MODULES = {
    "explanation": (
        "Explanation",
        "explain",
        "facs_sentence",
    ),
    "layout": ("save_figure",),
    "overlay": (
        "overlay_frames",
        "write_overlay",
    ),
    "pictures": (
        "magnify",
        "motion_picture",
    ),
    "plots": (
        "plot_clip",
        "plot_event",
    ),
    "probes": (
        "ActionUnitProbe",
        "ProbeResult",
        "action_unit_probe",
        "flow_of",
        "one_hot_tokens",
        "pooled_difference",
        "subject_probe",
        "tuned_probe",
    ),
    "recognition": (
        "animated_features",
        "leave_subjects_out",
    ),
    "report": ("write_report",),
    "style": ("label_colours",),
    "tables": ("markdown_table",),
    "tokens": (
        "Representation",
        "codebook_use",
        "evaluate_tokenizer",
        "reconstruction",
        "represent",
        "token_agreement",
    ),
    "unit_reading": (
        "active_sides",
        "name_amplitudes",
        "read_units",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
