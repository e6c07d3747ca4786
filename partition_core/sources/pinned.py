"""Files that a recipe names and pins by their digest: checkpoints, and models that are files."""

from __future__ import annotations

from dataclasses import dataclass

from partition_core.base.errors import BuildError
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Checkpoint, OnnxModel


@dataclass(frozen=True)
class Pinned:
    """A file at `location`, a path or a URL, whose SHA-256 starts with `sha256`.

    `kind` is its name in messages. `at` and `sha256_at` are the YAML paths of the two.
    """

    kind: str
    location: str
    sha256: str
    at: str
    sha256_at: str

    @property
    def is_url(self) -> bool:
        """Whether it has to be downloaded."""
        return self.location.startswith(("http://", "https://"))

    def check(self, digest: str, file: RecipeFile) -> None:
        """Raise BuildError, with a place in the recipe `file`, for a digest mismatch."""
        if not digest.startswith(self.sha256):
            raise BuildError.at(
                file.place(self.sha256_at),
                f"the {self.kind}'s SHA-256 is '{digest}'",
                f"the recipe expects one that starts with '{self.sha256}'",
                f"check where the {self.kind} comes from before you change the recipe",
            )


def pinned_by(file: RecipeFile) -> Pinned | None:
    """Return the checkpoint or ONNX file of a recipe, None if its model needs no file."""
    model = file.recipe.model
    if isinstance(model, OnnxModel):
        key = "path" if "path" in file.values["model"] else "url"
        return Pinned("model", model.location, model.sha256, f"model.{key}", "model.sha256")
    if isinstance(model.weights, Checkpoint):
        at = "model.weights"
        weights = model.weights
        name, pinned = weights.checkpoint, weights.sha256
        return Pinned("checkpoint", name, pinned, f"{at}.checkpoint", f"{at}.sha256")
    return None
