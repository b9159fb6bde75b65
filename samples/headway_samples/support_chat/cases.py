"""Support cases: what the customer says, its category, what solves it, and an order book.

The resolution is a phrase of the handbook; an answer is right if it holds the
phrase (and, for an order, what the order book says of it). The difficulty is
known to the emulated models only.
"""

from dataclasses import dataclass
from functools import cache

HANDBOOK: dict[str, tuple[tuple[str, str], ...]] = {
    "billing": (
        ("I was charged twice this month.", "we refund the second charge within three days"),
        ("My invoice shows the wrong company.", "send us the VAT number and we reissue it"),
        ("The voucher did not lower the price.", "the voucher counts from the next invoice on"),
        ("Why did the price go up?", "the introductory year has ended; the annual plan is lower"),
        ("I cancelled but still pay.", "the notice period ends with the current month"),
        ("My card is refused.", "allow foreign payments in your bank's application"),
    ),
    "delivery": (
        ("Where is my parcel?", "the parcel is with the carrier"),
        ("The parcel says delivered, but I have nothing.", "we ask the carrier for its proof"),
        ("Can I change the address?", "the address can be changed until dispatch"),
        ("I got the wrong colour.", "keep it until the exchange arrives with a return label"),
        ("One item is missing.", "the rest ships from the second warehouse"),
        ("The box arrived crushed.", "send a photograph and we replace it at once"),
    ),
    "account": (
        ("I cannot log in since today.", "reset the password; the old one expired"),
        ("I lost my second factor.", "use a recovery code from the day you enrolled"),
        ("How do I change my e-mail address?", "confirm the link sent to the old address"),
        ("Please delete my data.", "the deletion starts after fourteen days of grace"),
        ("Can a colleague see my projects?", "only if you invite them to the workspace"),
        ("I have two accounts.", "we merge them into the one that pays"),
    ),
    "technical": (
        ("The application crashes at start.", "clear its cache folder and update to 4.2"),
        ("Synchronisation never ends.", "remove names that differ only in case"),
        ("The export is empty.", "choose a range that holds closed entries"),
        ("Notifications come late.", "exempt it from battery saving"),
        ("The interface answers 429.", "stay below ten requests a second and back off"),
        ("Printing cuts the margin.", "set the paper size to A4 before the export"),
    ),
}
CATEGORIES = tuple(sorted(HANDBOOK))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One customer's matter. `order` is empty unless the answer needs the order book."""

    number: int
    category: str
    says: str
    resolution: str
    order: str
    difficulty: float


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in a fixed order; a case's number is its place."""
    made: list[Case] = []
    for category in CATEGORIES:
        for place, (says, resolution) in enumerate(HANDBOOK[category]):
            number = len(made)
            order = f"A{1000 + 37 * number}" if category == "delivery" else ""
            made.append(
                Case(
                    number=number,
                    category=category,
                    says=f"{says} My order is {order}." if order else says,
                    resolution=resolution,
                    order=order,
                    difficulty=round(0.05 + 0.05 * ((5 * number + place) % 14), 2),
                )
            )
    return tuple(made)


def order_book(order: str) -> str:
    """What the order book says of an order."""
    known = {case.order: case for case in cases() if case.order}
    if order not in known:
        return f"there is no order {order}"
    return f"order {order}: shelf {known[order].number + 11}, handed over"


def handbook_of(category: str) -> str:
    """The handbook's lines for a category; of all of them if the category is unknown."""
    chosen = (category,) if category in HANDBOOK else CATEGORIES
    return "\n".join(
        f"- {says} -> {resolution}" for each in chosen for says, resolution in HANDBOOK[each]
    )


def is_right(case: Case, answer: str) -> bool:
    """Whether `answer` would solve the customer's matter."""
    return case.resolution in answer and (not case.order or order_book(case.order) in answer)
