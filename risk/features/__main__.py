"""Write docs/FEATURES.md: ``python -m risk.features`` at the repository's root."""

from pathlib import Path

from risk.features.catalogue import documentation

Path("docs/FEATURES.md").write_text(documentation(), encoding="utf-8")
