"""What can be wrong with a customer's file, as one error that says where and what to change."""


class TableError(Exception):
    """A file, or what is asked of it, cannot be worked on; trying again would not help.

    Args:
        code: A stable slug, such as `file_encrypted`.
        detail: What is wrong and what to change, in a sentence for the customer.
        place: The file, and the sheet, line or column where known.
    """

    def __init__(self, code: str, detail: str, place: str | None = None) -> None:
        super().__init__(detail if place is None else f"{detail} (at {place})")
        self.code = code
        self.detail = detail
        self.place = place
