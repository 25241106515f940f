"""Make train.jsonl, test.jsonl and tickets.csv: short messages to a shop, labelled by what the customer asks for.

Most messages also speak of something else, in the words of another label: what is asked for decides. The same seed gives
the same bytes: python make.py
"""

import csv
import json
from pathlib import Path
from random import Random

ASKS = {
    "refund": [
        "Please send my money back", "I want my money back", "Can I get the amount returned to my card?",
        "Please pay me back", "I expect to be reimbursed", "Put the money back on my account, please",
        "When do I get my {price} euros back?", "Return the {price} euros to me, please",
    ],
    "exchange": [
        "Please swap it for a larger one", "Can I have it in blue instead?", "I would like a different size",
        "Could you send me another {thing} in its place?", "I want to trade it for the newer model",
        "Please replace it with a working one", "Can I change it for a smaller one?", "A new {thing} in its place would be fine",
    ],
    "cancel": [
        "Please stop my order", "I no longer want the {thing}, do not send it", "Call the order off, please",
        "Take the {thing} off my order before it leaves", "Please do not ship it", "I have changed my mind, drop the order",
        "Withdraw my order, please", "Can the order still be stopped?",
    ],
    "delivery": [
        "Where is my {thing}?", "When will it arrive?", "Has the parcel left yet?", "Which day will the driver come?",
        "Can you tell me where the parcel is now?", "How long until the {thing} gets here?",
        "The tracking page shows nothing, so where is it?", "Can it come on {day} instead of today?",
    ],
    "invoice": [
        "Please send me the bill as a PDF", "I need a receipt for my taxes", "Can you put my company's name on the bill?",
        "The receipt shows the wrong address, please correct it", "Where can I download the bill?",
        "My accountant needs a copy of the bill", "Please split the bill in two", "I need the VAT number on the receipt",
    ],
    "complaint": [
        "I am very unhappy with how I was treated", "Your staff was rude to me, and I want you to know it",
        "This is no way to treat a customer", "Nobody answers the phone, which is a disgrace",
        "I will tell everyone how bad this shop is", "Let your manager know how poor this service was",
        "I have never been treated so badly", "I want this to reach whoever is in charge",
    ],
}  # fmt: skip
CONTEXTS = {
    "refund": ["I paid {price} euros for the {thing}", "My money has been with you since {day}", "You charged my card twice"],
    "exchange": ["The {thing} is too small", "The {thing} came in the wrong colour", "The {thing} does not work"],
    "cancel": ["I ordered the {thing} on {day}", "I put two of the {thing} in my order by mistake", "I changed my mind about the {thing}"],
    "delivery": ["The parcel came on {day}", "The {thing} is three days late", "The driver left the {thing} with a neighbour"],
    "invoice": ["The bill says {price} euros", "I got the receipt on {day}", "My bill shows two of the {thing}"],
    "complaint": ["I am not happy with the {thing}", "On {day} nobody answered the phone", "Your shop was so friendly on {day}"],
}  # fmt: skip
THINGS = [
    "lamp",
    "kettle",
    "jacket",
    "chair",
    "phone",
    "bicycle",
    "backpack",
    "printer",
    "blender",
    "tent",
    "watch",
    "desk",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]


def message(label: str, rng: Random) -> str:
    """A message that asks for this; two in three speak of something else first or afterwards."""
    values = {"thing": rng.choice(THINGS), "day": rng.choice(DAYS), "price": str(rng.randrange(12, 240))}
    parts = [rng.choice(ASKS[label])]
    if rng.random() < 2 / 3:
        parts.insert(rng.randrange(2), rng.choice(CONTEXTS[rng.choice(sorted(CONTEXTS))]))
    for name, value in values.items():
        parts = [part.replace("{" + name + "}", value) for part in parts]
    return " ".join(part if part.endswith("?") else part + "." for part in parts)


def main() -> None:
    """Write 50 rows to train on, 240 others to test on, and 100 of four labels for docs/your-own-task.md."""
    rng, seen, labels = Random(22), set(), sorted(ASKS)
    for name, n in (("train", 50), ("test", 240)):
        lines = []
        while len(lines) < n:
            label = labels[len(lines) % len(labels)]
            text = message(label, rng)
            if text not in seen:
                seen.add(text)
                lines.append(json.dumps({"id": f"{name}-{len(lines)}", "question": text, "reference": label}))
        rng.shuffle(lines)
        (Path(__file__).parent / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rng, tickets = Random(23), {}
    while len(tickets) < 100:
        label = ("cancel", "delivery", "invoice", "refund")[len(tickets) % 4]
        tickets.setdefault(message(label, rng), label)
    with (Path(__file__).parent / "tickets.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerows([("text", "category"), *tickets.items()])


if __name__ == "__main__":
    main()
