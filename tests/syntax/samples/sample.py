"""A module. def not_a_function():"""
import os
from sys import path


class Shape(Base):
    """Docs with a colon:
    still docs
    """

    sides: int = 0

    # a comment at the column of members
    def area(self, scale: float = 1.0) -> float:
        if scale > 1:
            return scale
        elif scale == 1: return 0
        else:
            # only a comment before
            pass

        return {"a": 1}["a"]

    @property
    def name(self):
        return 'x:'


async def main(
    args,
    flags,
):
    for arg in args:
        while True:
            break
    else:
        pass
    with open("x") as f, \
            open("y") as g:
        data = {
            "k": [1, 2],
            "f": lambda: 0,
        }
    try:
        pass
    except ValueError:
        pass
    finally:
        pass
    match args:
        case []:
            return None
        case _:
            x = 1
# a comment at the end of the function

if __name__ == "__main__":
    main(1, 2)
