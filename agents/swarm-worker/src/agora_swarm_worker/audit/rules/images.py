"""Names of container images."""


def unpinned(image: str) -> str:
    """Why an image's name does not fix its version; empty where it does, or where a variable decides."""
    image = image.strip()
    if not image or "@sha256:" in image or "$" in image or "{{" in image or image.lower() == "scratch":
        return ""
    name = image.rpartition("/")[2]
    tag = name.partition(":")[2]
    if not tag:
        return f"{image} names no version: it is `latest`"
    return f"{image} is another image tomorrow" if tag == "latest" else ""
