"""`motia import`: from a project of the original to a motia.yaml. Its files are read as text and never run (decision 0013)."""

from motia_generator.importing.project import Imported, NotAProject, read_project

__all__ = ["Imported", "NotAProject", "read_project"]
