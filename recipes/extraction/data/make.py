"""Make train.jsonl and test.jsonl: orders as people write them, and their fields as JSON.

The same seed gives the same bytes: python make.py
"""

import json
from pathlib import Path
from random import Random

ITEMS = [
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
    "desk",
    "mirror",
    "carpet",
    "pillow",
    "clock",
]
CITIES = [
    "Lisbon",
    "Oslo",
    "Vienna",
    "Porto",
    "Dublin",
    "Ghent",
    "Turin",
    "Malmo",
    "Krakow",
    "Leipzig",
    "Nantes",
    "Bergen",
]
NAMES = [
    "Ana",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Felix",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Karla",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
]
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 12: "a dozen"}
FORMS = [
    "Hello, this is {name}. I would like {count} {items}, sent to {city}. I pay {price} euros for each.",
    "Please ship {count} {items} to {city}; the price we agreed is {price} euros apiece. Thanks, {name}",
    "{name} from {city} orders {count} {items} at {price} euros each.",
    "At {price} euros a piece I take {count} {items}. My address is in {city}. {name}",
    "Could {city} get {count} {items}? {name} pays {price} euros for every one of them.",
    "For {name}: {count} {items}. Unit price {price} euros, to {city}, not to {other} as last time.",
]


def row(rng: Random) -> tuple[str, dict[str, object]]:
    """A message and its fields."""
    name, city, other = rng.choice(NAMES), *rng.sample(CITIES, 2)
    item, number = rng.choice(ITEMS), rng.choice(sorted(NUMBERS))
    price = rng.choice([rng.randrange(5, 90), rng.randrange(10, 180) / 2])
    price = int(price) if price == int(price) else price
    words = {
        "name": name, "city": city, "other": other, "items": f"{item}s", "price": f"{price:.2f}" if rng.random() < 0.3 else f"{price}",
        "count": NUMBERS[number] if rng.random() < 0.6 else str(number),
    }  # fmt: skip
    text = rng.choice(FORMS)
    for key, value in words.items():
        text = text.replace("{" + key + "}", value)
    return text, {"name": name, "item": item, "quantity": number, "price": price, "city": city}


def main() -> None:
    """Write 50 rows to train on and 240 others to test on."""
    rng, seen = Random(22), set()
    for name, n in (("train", 50), ("test", 240)):
        lines = []
        while len(lines) < n:
            text, fields = row(rng)
            if text not in seen:
                seen.add(text)
                made = {"id": f"{name}-{len(lines)}", "question": text, "reference": json.dumps(fields)}
                lines.append(json.dumps(made))
        (Path(__file__).parent / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
