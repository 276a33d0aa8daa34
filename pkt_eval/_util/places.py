"""What a model is called whose name is a place on somebody's disk."""


def short_name(source: str) -> str:
    """A label for a model: its hub name, or the last part of its folder."""
    parts = source.replace("\\", "/").rstrip("/").split("/")
    if parts[-3:-1] == ["nano", "weights"]:
        return f"nano-{parts[-1]}"
    if cached := next((part for part in parts if part.startswith("models--") and "snapshots" in parts), ""):
        return "/".join(cached.split("--", 2)[1:])  # as the hub's client keeps owner/name on disk
    if parts[-1] in ("merged", "adapter") and len(parts) > 1:  # as `pkt-eval transfer --out` names it
        return parts[-2]
    # owner/name is a name on the hub.
    return source if len(parts) == 2 and all(parts) and parts[0] not in (".", "..", "~") else parts[-1]
