"""The passes, one file each: ``(draft, setting) -> None`` changes a draft so that F = loss + λ · bits falls."""
