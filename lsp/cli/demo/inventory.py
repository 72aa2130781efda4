"""Stock of a small shop: what is on the shelves, and what it is worth."""

from dataclasses import dataclass, field


@dataclass
class Item:
    name: str
    price: float
    quantity: int = 0
    tags: list[str] = field(default_factory=list)

    def total(self):
        return self.price * self.quantity

    def add(self, count):
        if count < 0:
            raise ValueError("count must not be negative")
        self.quantity += count

    def remove(self, count):
        if count < 0:
            

class Inventory:
    def __init__(self):
        self.items = {}

    def add(self, item):
        if item.name in self.items:
            self.items[item.name].add(item.quantity)
        else:
            self.items[item.name] = item

    def get(self, name):
        return self.items.get(name)

    def remove(self, name):
        if name in self.items:
            del self.items[name]

    def total(self):
        total = 0
        for item in 
        return total

    def with_tag(self, tag):
        result = []
        for item in self.items.values():
            if tag in item.tags:
                result.append(item)
        return result

    def names(self):
        return sorted(self.items)


def main():
    inventory = Inventory()
    inventory.add(Item("pencil", 0.8, 120, ["paper"]))
    inventory.add(Item("notebook", 3.5, 40, ["paper"]))
    inventory.add(Item("lamp", 24.0, 3))
    print(inventory.names())
    print(inventory.total())


if __name__ == "__main__":
    main()
