"""The passes, one file each: ``(draft, setting) -> None``, each changing a draft so that F = loss + λ · bits falls."""
